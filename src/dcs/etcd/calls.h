// gRPC calls as coroutines on our executor. Inside dcs/etcd only.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"

namespace pgvigil::dcs {

// gRPC counts deadlines on the wall clock; ours are lengths from now.
inline void set_deadline(grpc::ClientContext& context, Clock& clock, TimePoint deadline) {
  const Duration left = std::max<Duration>(deadline - clock.now(), Duration::zero());
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(left));
}

template <class Reply>
struct CallState {
  explicit CallState(Clock& clock) : done(clock) {}
  grpc::ClientContext context;
  Reply reply;
  grpc::Status status{grpc::StatusCode::DEADLINE_EXCEEDED, "no answer in time"};
  bool finished = false;
  Signal done;
};

// `begin(context, reply, callback)` starts the call. Resumes on the executor when it has ended.
template <class Reply, class Begin>
Task<std::shared_ptr<CallState<Reply>>> unary(Clock& clock, std::shared_ptr<CallState<Reply>> state, Begin begin,
                                              TimePoint deadline) {
  set_deadline(state->context, clock, deadline);
  auto executor = clock.executor();
  begin(&state->context, &state->reply, [state, executor](grpc::Status status) {
    asio::post(executor, [state, status = std::move(status)]() mutable {
      state->status = std::move(status);
      state->finished = true;
      state->done.notify();
    });
  });
  // gRPC ends every call by its deadline; the margin is for a machine that is short of CPU.
  const TimePoint patience = deadline + std::chrono::seconds(1);
  while (!state->finished) {
    if (!co_await state->done.wait_until(patience)) {
      state->context.TryCancel();
      break;
    }
  }
  co_return state;
}

}  // namespace pgvigil::dcs
