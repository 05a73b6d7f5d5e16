#include "dcs/etcd/watch_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/post.hpp>

#include "rpc.grpc.pb.h"

namespace pgvigil::dcs {
namespace {

namespace pb = etcdserverpb;

// What both sides share: gRPC's threads post into it, the executor reads it.
struct Listener {
  WatchHandler handler;
  std::function<void()> on_ended;
  bool open = true;  // executor only

  void deliver(const pb::WatchResponse& response) {
    if (!open) return;
    if (response.canceled() || response.compact_revision() != 0) {
      const bool compacted = response.compact_revision() != 0;
      lose(Error{compacted ? Errc::Compacted : Errc::Unavailable,
                 "the watch was cancelled by etcd",
                 {},
                 response.cancel_reason(),
                 {}});
      return;
    }
    std::vector<WatchEvent> events;
    events.reserve(static_cast<std::size_t>(response.events_size()));
    for (const auto& event : response.events()) {
      const auto& kv = event.kv();
      events.push_back(
          {event.type() == pb::Event::DELETE, KeyValue{kv.key(), kv.value(), Revision(kv.create_revision()),
                                                       Revision(kv.mod_revision()), LeaseId(kv.lease())}});
    }
    handler.on_events(Revision(response.header().revision()), std::move(events));
  }

  void lose(Error why) {
    if (!open) return;
    open = false;
    if (why.code != Errc::Compacted) on_ended();
    handler.on_lost(std::move(why));
  }
};

// Owns itself until gRPC says that the stream has ended.
class Stream final : public grpc::ClientBidiReactor<pb::WatchRequest, pb::WatchResponse> {
 public:
  Stream(asio::any_io_executor executor, std::shared_ptr<Listener> listener, std::shared_ptr<grpc::Channel> channel)
      : executor_(std::move(executor)), listener_(std::move(listener)), stub_(pb::Watch::NewStub(std::move(channel))) {}

  void begin(const WatchTarget& target, std::shared_ptr<Stream> self) {
    self_ = std::move(self);
    auto* create = request_.mutable_create_request();
    create->set_key(target.key);
    create->set_range_end(target.range_end);
    create->set_start_revision(target.start.value());
    create->set_progress_notify(true);
    // Without this a member that is cut off from its cluster would keep the stream open and silent for ever.
    context_.AddMetadata("hasleader", "true");
    if (!target.token.empty()) context_.AddMetadata("token", target.token);
    stub_->async()->Watch(&context_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  void cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    asio::post(executor_, [listener = listener_, response = response_] { listener->deliver(response); });
    response_.Clear();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    asio::post(executor_, [listener = listener_, text = status.error_message(), self = std::move(self_)] {
      listener->lose(Error{Errc::Unavailable, "the watch of etcd has ended", {}, text, {}});
    });
  }

 private:
  asio::any_io_executor executor_;
  std::shared_ptr<Listener> listener_;
  std::unique_ptr<pb::Watch::Stub> stub_;
  grpc::ClientContext context_;
  pb::WatchRequest request_;
  pb::WatchResponse response_;
  std::shared_ptr<Stream> self_;
};

class EtcdWatch final : public Watch {
 public:
  EtcdWatch(std::shared_ptr<Listener> listener, std::shared_ptr<Stream> stream)
      : listener_(std::move(listener)), stream_(std::move(stream)) {}
  ~EtcdWatch() override {
    listener_->open = false;
    stream_->cancel();
  }
  EtcdWatch(const EtcdWatch&) = delete;
  EtcdWatch& operator=(const EtcdWatch&) = delete;

 private:
  std::shared_ptr<Listener> listener_;
  std::shared_ptr<Stream> stream_;
};

}  // namespace

std::unique_ptr<Watch> start_watch(Clock& clock, std::shared_ptr<grpc::Channel> channel, WatchTarget target,
                                   WatchHandler handler, std::function<void()> on_ended) {
  auto listener = std::make_shared<Listener>();
  listener->handler = std::move(handler);
  listener->on_ended = std::move(on_ended);
  auto stream = std::make_shared<Stream>(clock.executor(), listener, std::move(channel));
  stream->begin(target, stream);
  return std::make_unique<EtcdWatch>(std::move(listener), std::move(stream));
}

}  // namespace pgvigil::dcs
