#include "dcs/etcd/etcd_store.h"

#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>

#include <algorithm>

#include "dcs/etcd/calls.h"
#include "dcs/etcd/channels.h"
#include "dcs/etcd/watch_call.h"
#include "rpc.grpc.pb.h"

namespace pgvigil::dcs {
namespace {

namespace pb = etcdserverpb;

constexpr Duration kShareMin = std::chrono::seconds(1);
constexpr Duration kPauseFirst = std::chrono::milliseconds(100);
constexpr Duration kDiscoverEvery = std::chrono::minutes(5);
// gRPC connects again by timers of its own, which wait by the wall clock. Channels that have failed for as long as this
// are replaced by new ones, which connect at once.
constexpr Duration kConnectAnew = std::chrono::seconds(10);
constexpr Duration kDiscoverMax = std::chrono::seconds(5);

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// How a failed call is to be understood.
enum class Failure : std::uint8_t {
  NotSent,   // no server has seen it: try the next endpoint
  Maybe,     // it may have been carried out
  Answered,  // a server said no
  Token,     // authenticate anew and repeat
};

// What etcd says of a token that it does not know (any more), that is older than the latest change of users or roles,
// or that is missing (etcd, api/v3rpc/rpctypes, with codes Unauthenticated and InvalidArgument).
bool is_about_login(const std::string& text) {
  return contains(text, "auth token") || contains(text, "auth store is old") || contains(text, "user name is empty");
}

Failure failure_of(const grpc::Status& status) {
  const std::string text = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED: return Failure::Token;  // roles may have been granted since
    case grpc::StatusCode::UNAVAILABLE:
      if (contains(text, "failed to connect") || contains(text, "no leader") || contains(text, "onnection refused") ||
          contains(text, "not capable")) {
        return Failure::NotSent;
      }
      return Failure::Maybe;
    case grpc::StatusCode::INVALID_ARGUMENT: return is_about_login(text) ? Failure::Token : Failure::Answered;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN: return Failure::Maybe;
    default: return Failure::Answered;
  }
}

Error error_of(const grpc::Status& status, const char* what, const std::string& endpoint) {
  const std::string text = status.error_message();
  if (contains(text, "lease not found")) return {Errc::LeaseLost, what, endpoint, text, {}};
  if (is_about_login(text) || contains(text, "authentication failed"))
    return {Errc::Unauthorized, what, endpoint, text, "check etcd3.username and etcd3.password"};
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED: return {Errc::Timeout, what, endpoint, "no answer in time", {}};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Errc::Unauthorized, what, endpoint, text, "check etcd3.username and etcd3.password"};
    case grpc::StatusCode::UNAVAILABLE: return {Errc::Unavailable, what, endpoint, text, {}};
    default: return {Errc::Refused, what, endpoint, text, {}};
  }
}

pb::RequestOp request_op(const Op& op) {
  pb::RequestOp request;
  if (const auto* put = std::get_if<Put>(&op)) {
    auto* out = request.mutable_request_put();
    out->set_key(put->key);
    out->set_value(put->value);
    out->set_lease(put->lease.value());
  } else {
    const auto& erased = std::get<Delete>(op);
    auto* out = request.mutable_request_delete_range();
    out->set_key(erased.key);
    out->set_range_end(erased.range_end);
  }
  return request;
}

void fill_compare(const Compare& compare, pb::Compare* out) {
  out->set_result(pb::Compare::EQUAL);
  out->set_key(compare.key);
  switch (compare.target) {
    case Compare::Target::CreateRevision:
      out->set_target(pb::Compare::CREATE);
      out->set_create_revision(compare.number);
      break;
    case Compare::Target::ModRevision:
      out->set_target(pb::Compare::MOD);
      out->set_mod_revision(compare.number);
      break;
    case Compare::Target::Value:
      out->set_target(pb::Compare::VALUE);
      out->set_value(compare.value);
      break;
    case Compare::Target::Lease:
      out->set_target(pb::Compare::LEASE);
      out->set_lease(compare.number);
      break;
  }
}

pb::TxnRequest txn_request(const Txn& txn) {
  pb::TxnRequest request;
  for (const auto& compare : txn.compares) fill_compare(compare, request.add_compare());
  for (const auto& op : txn.success) *request.add_success() = request_op(op);
  if (!txn.or_compares.empty()) {
    auto* nested = request.add_failure()->mutable_request_txn();
    for (const auto& compare : txn.or_compares) fill_compare(compare, nested->add_compare());
    for (const auto& op : txn.or_success) *nested->add_success() = request_op(op);
  }
  return request;
}

// "https://10.0.0.1:2379" -> "10.0.0.1:2379"; empty for what is no URL with a port.
std::string address_of(const std::string& url) {
  const auto scheme = url.find("://");
  if (scheme == std::string::npos) return {};
  const auto end = url.find('/', scheme + 3);
  const std::string address = url.substr(scheme + 3, end == std::string::npos ? end : end - scheme - 3);
  return address.find(':') == std::string::npos ? std::string() : address;
}

// For EtcdStore::call: from a channel the function that starts one unary call on it. `start(stub, context, request,
// reply, done)` names the method; request and stub live until the call has ended.
template <class Service, class Request, class Start>
auto starter(Request request, Start start) {
  return [held = std::make_shared<const Request>(std::move(request)), start](std::shared_ptr<grpc::Channel> channel) {
    std::shared_ptr<typename Service::Stub> stub = Service::NewStub(std::move(channel));
    return [held, start, stub](grpc::ClientContext* context, auto* reply, auto callback) {
      start(stub->async(), context, held.get(), reply,
            [held, stub, callback](grpc::Status s) { callback(std::move(s)); });
    };
  };
}

class EtcdStore final : public KvStore {
 public:
  EtcdStore(Clock& clock, Log log, EtcdOptions options, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : clock_(clock),
        log_(log.in_room("etcd")),
        options_(std::move(options)),
        channels_(options_.endpoints, std::move(credentials)) {}

  Task<Result<RangeReply>> range(std::string key, std::string range_end, Consistency consistency,
                                 TimePoint deadline) override;
  Task<TxnReply> txn(Txn txn, TimePoint deadline) override;
  Task<Result<LeaseId>> lease_grant(std::chrono::seconds ttl, TimePoint deadline) override;
  Task<Result<std::chrono::seconds>> lease_keepalive(LeaseId lease, TimePoint deadline) override;
  Task<Result<void>> lease_revoke(LeaseId lease, TimePoint deadline) override;
  std::unique_ptr<Watch> watch(std::string key, std::string range_end, Revision start, WatchHandler handler) override;

 private:
  template <class Reply>
  struct Outcome {
    grpc::Status status;
    Reply reply;
    std::string endpoint;
  };
  // Tries endpoints in turn until one answers or the deadline has passed. `repeatable`: also after a failure that may
  // have reached a server. `begin(channel)` gives the function that starts the call.
  template <class Reply, class Begin>
  Task<Outcome<Reply>> call(Begin begin, bool repeatable, TimePoint deadline);
  template <class Reply, class Begin>
  Task<Outcome<Reply>> attempt(std::size_t number, Begin begin, TimePoint deadline);
  // Not ok: why there is no token. Ok without a token where authentication is not enabled.
  Task<Outcome<etcdserverpb::AuthenticateResponse>> authenticate(TimePoint deadline);
  Task<void> discover(TimePoint deadline);
  void tell_where(const std::string& endpoint, const std::string& trouble);
  bool fresh_answer(const pb::ResponseHeader& header);
  void failed();

  Clock& clock_;
  Log log_;
  EtcdOptions options_;
  Channels channels_;
  std::string served_by_;
  std::string token_;
  bool logged_in_ = false;  // without a token where etcd does not ask for one
  std::optional<TimePoint> discovered_;
  std::optional<TimePoint> silent_since_;  // no endpoint has answered since then
  std::uint64_t cluster_id_ = 0, raft_term_ = 0;
};

template <class Reply, class Begin>
Task<EtcdStore::Outcome<Reply>> EtcdStore::attempt(std::size_t number, Begin begin, TimePoint deadline) {
  auto state = std::make_shared<CallState<Reply>>(clock_);
  state->context.AddMetadata("hasleader", "true");
  if (!token_.empty()) state->context.AddMetadata("token", token_);
  auto starter = begin(channels_.channel(number));
  auto done = co_await unary<Reply>(clock_, state, std::move(starter), deadline);
  Outcome<Reply> outcome;
  outcome.endpoint = channels_.endpoint(number % channels_.size());
  outcome.status = done->status;
  if (outcome.status.ok()) outcome.reply = std::move(done->reply);
  co_return outcome;
}

template <class Reply, class Begin>
Task<EtcdStore::Outcome<Reply>> EtcdStore::call(Begin begin, bool repeatable, TimePoint deadline) {
  Outcome<Reply> last;
  last.status = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "no time left");
  Duration pause = kPauseFirst;
  bool token_renewed = false;
  std::string trouble;
  const auto log_in = [&]() -> Task<bool> {
    if (options_.username.empty() || logged_in_) co_return true;
    auto login = co_await authenticate(deadline);
    last.status = login.status;
    last.endpoint = std::move(login.endpoint);
    co_return last.status.ok();
  };
  if (!co_await log_in()) co_return last;
  for (std::size_t tries = 1; clock_.now() < deadline; ++tries) {
    const std::size_t number = channels_.current();
    const Duration left = deadline - clock_.now();
    const auto nodes = static_cast<Duration::rep>(channels_.size());
    // A write may go out only once, so it gets all the time there is.
    const Duration share = repeatable ? std::max<Duration>(left / nodes, kShareMin) : left;
    const TimePoint by = std::min(deadline, clock_.now() + share);
    last = co_await attempt<Reply>(number, begin, by);
    if (last.status.ok()) {
      silent_since_.reset();
      tell_where(last.endpoint, trouble);
      if (!options_.discover_members || (discovered_ && clock_.now() - *discovered_ < kDiscoverEvery)) co_return last;
      discovered_ = clock_.now();
      co_await discover(std::min(deadline, clock_.now() + kDiscoverMax));
      co_return last;
    }
    const Failure failure = failure_of(last.status);
    if (failure == Failure::Answered || failure == Failure::Token) silent_since_.reset();
    if (failure == Failure::Answered) co_return last;
    if (failure == Failure::Token) {
      if (options_.username.empty() || token_renewed) co_return last;
      token_renewed = true;
      logged_in_ = false;
      if (!co_await log_in()) co_return last;
      continue;
    }
    channels_.give_up(number);
    failed();
    trouble = error_of(last.status, "no answer from", last.endpoint).message();
    if (failure == Failure::Maybe && !repeatable) co_return last;
    if (tries % channels_.size() == 0) {
      co_await sleep_until(clock_, std::min(deadline, clock_.now() + pause));
      pause = std::min<Duration>(pause * 2, kShareMin);
    }
  }
  co_return last;
}

Task<EtcdStore::Outcome<pb::AuthenticateResponse>> EtcdStore::authenticate(TimePoint deadline) {
  pb::AuthenticateRequest request;
  request.set_name(options_.username);
  request.set_password(options_.password.reveal());
  token_.clear();
  const auto begin = starter<pb::Auth>(request, [](auto* stub, auto... call) { stub->Authenticate(call...); });
  Outcome<pb::AuthenticateResponse> last;
  last.status = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "no time left");
  for (std::size_t i = 0; i < channels_.size() && clock_.now() < deadline; ++i) {
    const std::size_t number = channels_.current();
    last = co_await attempt<pb::AuthenticateResponse>(number, begin, std::min(deadline, clock_.now() + kDiscoverMax));
    const bool not_needed = contains(last.status.error_message(), "authentication is not enabled");
    if (last.status.ok() || not_needed) {
      if (!not_needed) token_ = last.reply.token();
      logged_in_ = true;
      last.status = grpc::Status::OK;
      co_return last;
    }
    if (failure_of(last.status) == Failure::Answered) co_return last;
    channels_.give_up(number);
  }
  co_return last;
}

Task<void> EtcdStore::discover(TimePoint deadline) {
  const auto begin =
      starter<pb::Cluster>(pb::MemberListRequest(), [](auto* stub, auto... call) { stub->MemberList(call...); });
  auto outcome = co_await attempt<pb::MemberListResponse>(channels_.current(), begin, deadline);
  if (!outcome.status.ok()) co_return;
  std::vector<std::string> addresses;
  for (const auto& member : outcome.reply.members()) {
    for (const auto& url : member.clienturls()) {
      if (auto address = address_of(url); !address.empty() && !member.islearner())
        addresses.push_back(std::move(address));
    }
  }
  channels_.adopt(addresses);
}

// Once per change of the member that serves us, with what was wrong with the one before.
void EtcdStore::tell_where(const std::string& endpoint, const std::string& trouble) {
  if (endpoint == served_by_) return;
  if (trouble.empty()) {
    log_.info("served by {}", endpoint);
  } else {
    log_.warning("served by {} now: {}", endpoint, trouble);
  }
  served_by_ = endpoint;
}

void EtcdStore::failed() {
  if (!silent_since_) silent_since_ = clock_.now();
  if (clock_.now() - *silent_since_ < kConnectAnew) return;
  channels_.renew();
  silent_since_ = clock_.now();
}

// An answer of an earlier raft term comes from a member that lags behind or was cut off: another one knows better.
bool EtcdStore::fresh_answer(const pb::ResponseHeader& header) {
  if (header.cluster_id() != cluster_id_) {
    cluster_id_ = header.cluster_id();
    raft_term_ = header.raft_term();
    return true;
  }
  if (header.raft_term() < raft_term_) return false;
  raft_term_ = header.raft_term();
  return true;
}

Task<Result<RangeReply>> EtcdStore::range(std::string key, std::string range_end, Consistency consistency,
                                          TimePoint deadline) {
  pb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  request.set_serializable(consistency == Consistency::Serializable);
  const auto begin = starter<pb::KV>(request, [](auto* stub, auto... call) { stub->Range(call...); });
  for (std::size_t tries = 0; tries <= channels_.size(); ++tries) {
    auto outcome = co_await call<pb::RangeResponse>(begin, true, deadline);
    if (!outcome.status.ok())
      co_return tl::make_unexpected(error_of(outcome.status, "cannot read from etcd", outcome.endpoint));
    if (!fresh_answer(outcome.reply.header())) {
      channels_.give_up(channels_.current());
      continue;
    }
    RangeReply reply;
    reply.revision = Revision(outcome.reply.header().revision());
    reply.kvs.reserve(static_cast<std::size_t>(outcome.reply.kvs_size()));
    for (const auto& kv : outcome.reply.kvs()) {
      reply.kvs.push_back(
          {kv.key(), kv.value(), Revision(kv.create_revision()), Revision(kv.mod_revision()), LeaseId(kv.lease())});
    }
    co_return reply;
  }
  co_return fail(Errc::Unavailable, "cannot read from etcd", {}, "every endpoint answers from an earlier raft term");
}

Task<TxnReply> EtcdStore::txn(Txn txn, TimePoint deadline) {
  const pb::TxnRequest request = txn_request(txn);
  const auto begin = starter<pb::KV>(request, [](auto* stub, auto... call) { stub->Txn(call...); });
  auto outcome = co_await call<pb::TxnResponse>(begin, false, deadline);
  TxnReply reply;
  if (!outcome.status.ok()) {
    reply.error = error_of(outcome.status, "etcd did not take the write", outcome.endpoint);
    const Failure failure = failure_of(outcome.status);
    reply.outcome = failure == Failure::Maybe ? WriteOutcome::Unknown : WriteOutcome::Refused;
    co_return reply;
  }
  reply.revision = Revision(outcome.reply.header().revision());
  reply.outcome = WriteOutcome::Refused;
  if (outcome.reply.succeeded()) {
    reply.outcome = WriteOutcome::Applied;
  } else if (outcome.reply.responses_size() > 0 && outcome.reply.responses(0).response_txn().succeeded()) {
    reply.outcome = WriteOutcome::Applied;
    reply.by_or_branch = true;
  }
  co_return reply;
}

Task<Result<LeaseId>> EtcdStore::lease_grant(std::chrono::seconds ttl, TimePoint deadline) {
  pb::LeaseGrantRequest request;
  request.set_ttl(ttl.count());
  const auto begin = starter<pb::Lease>(request, [](auto* stub, auto... call) { stub->LeaseGrant(call...); });
  // A grant whose answer was lost leaves a lease that expires by itself: it may be repeated.
  auto outcome = co_await call<pb::LeaseGrantResponse>(begin, true, deadline);
  if (!outcome.status.ok()) {
    co_return tl::make_unexpected(error_of(outcome.status, "cannot get a lease from etcd", outcome.endpoint));
  }
  co_return LeaseId(outcome.reply.id());
}

Task<Result<void>> EtcdStore::lease_revoke(LeaseId lease, TimePoint deadline) {
  pb::LeaseRevokeRequest request;
  request.set_id(lease.value());
  const auto begin = starter<pb::Lease>(request, [](auto* stub, auto... call) { stub->LeaseRevoke(call...); });
  auto outcome = co_await call<pb::LeaseRevokeResponse>(begin, true, deadline);
  if (!outcome.status.ok()) {
    co_return tl::make_unexpected(error_of(outcome.status, "cannot revoke the lease", outcome.endpoint));
  }
  co_return Result<void>();
}

// etcd has keep-alives only as a stream: one request, one answer, and the stream is closed.
class KeepAliveStream final : public grpc::ClientBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  using Callback = std::function<void(grpc::Status)>;

  static void begin(std::shared_ptr<grpc::Channel> channel, grpc::ClientContext* context, LeaseId lease,
                    pb::LeaseKeepAliveResponse* reply, Callback callback) {
    auto* stream =
        new KeepAliveStream(std::move(channel), lease, reply, std::move(callback));  // deletes itself in OnDone
    stream->stub_->async()->LeaseKeepAlive(context, stream);
    stream->StartWriteLast(&stream->request_, grpc::WriteOptions());
    stream->StartRead(reply);
    stream->StartCall();
  }
  void OnReadDone(bool ok) override { answered_ = answered_ || ok; }
  void OnDone(const grpc::Status& status) override {
    auto result = status;
    if (status.ok() && !answered_)
      result = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream ended without an answer");
    callback_(result);
    delete this;
  }

 private:
  KeepAliveStream(std::shared_ptr<grpc::Channel> channel, LeaseId lease, pb::LeaseKeepAliveResponse*, Callback callback)
      : stub_(pb::Lease::NewStub(std::move(channel))), callback_(std::move(callback)) {
    request_.set_id(lease.value());
  }

  std::unique_ptr<pb::Lease::Stub> stub_;
  pb::LeaseKeepAliveRequest request_;
  Callback callback_;
  bool answered_ = false;
};

Task<Result<std::chrono::seconds>> EtcdStore::lease_keepalive(LeaseId lease, TimePoint deadline) {
  const auto begin = [lease](std::shared_ptr<grpc::Channel> channel) {
    return [lease, channel](grpc::ClientContext* context, pb::LeaseKeepAliveResponse* reply, auto callback) {
      KeepAliveStream::begin(channel, context, lease, reply, callback);
    };
  };
  auto outcome = co_await call<pb::LeaseKeepAliveResponse>(begin, true, deadline);
  if (!outcome.status.ok()) {
    co_return tl::make_unexpected(error_of(outcome.status, "cannot renew the lease", outcome.endpoint));
  }
  if (outcome.reply.ttl() <= 0) {
    co_return fail(Errc::LeaseLost, "cannot renew the lease", outcome.endpoint, "etcd does not know it any more");
  }
  co_return std::chrono::seconds(outcome.reply.ttl());
}

std::unique_ptr<Watch> EtcdStore::watch(std::string key, std::string range_end, Revision start, WatchHandler handler) {
  const std::size_t number = channels_.current();
  WatchTarget target{std::move(key), std::move(range_end), start, token_};
  return start_watch(clock_, channels_.channel(number), std::move(target), std::move(handler),
                     [this, number] { channels_.give_up(number); });
}

// gRPC ends its callback threads when the last channel goes, and (1.51) may then abort the process: a thread that has
// put the last event into their queue counts it only after another one has found the queue empty and destroyed it. So
// one channel that never connects is kept until the process ends; its one call, which fails at once, binds the queue to
// it.
void keep_callback_threads() {
  struct Call {
    grpc::ClientContext context;
    pb::RangeRequest request;
    pb::RangeResponse reply;
  };
  static const auto* const kKept = [] {
    auto* stub = new pb::KV::Stub(grpc::CreateChannel("never-connects", nullptr));
    auto call = std::make_shared<Call>();
    stub->async()->Range(&call->context, &call->request, &call->reply, [call](grpc::Status) {});
    return stub;
  }();
  (void)kKept;
}

}  // namespace

Result<std::unique_ptr<KvStore>> make_etcd_store(Clock& clock, Log log, EtcdOptions options) {
  // gRPC writes to standard error whatever a TLS peer does; the failed call says the same, once, to our log.
  gpr_set_log_function([](gpr_log_func_args*) {});
  keep_callback_threads();
  PGV_TRY(credentials, make_credentials(options));
  return std::make_unique<EtcdStore>(clock, log, std::move(options), credentials);
}

}  // namespace pgvigil::dcs
