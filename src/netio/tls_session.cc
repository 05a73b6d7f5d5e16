#include "netio/tls_session.h"

#include "netio/stream_core.h"

namespace pgvigil::netio {

TlsSession::TlsSession(TlsContextPtr context, std::string host)
    : context_(std::move(context)), host_(std::move(host)) {}
TlsSession::~TlsSession() = default;
void TlsSession::begin_if_due(StreamCore&) {}
void TlsSession::feed(StreamCore&, std::string_view) {}
void TlsSession::flush(StreamCore&) {}

}  // namespace pgvigil::netio
