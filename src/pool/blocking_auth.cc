#include "pool/blocking_auth.h"

#include <signal.h>

#include <utility>

namespace pgvigil::pool {

struct BlockingAuth::Job {
  Request request;
  netio::Loop* loop = nullptr;
  TimePoint deadline;
  // The loop's thread alone:
  Done done;
  netio::Loop::TimerId timer = 0;

  void finish(Result<void> result) {
    if (auto call = std::exchange(done, nullptr); call) call(std::move(result));
  }
};

BlockingAuth::BlockingAuth() = default;

BlockingAuth::~BlockingAuth() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void BlockingAuth::check(Request request, netio::Loop& loop, Done done) {
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->loop = &loop;
  job->deadline = loop.now() + kAnswerWithin;
  job->done = std::move(done);
  // A library that hangs keeps its thread, but not the client.
  job->timer = loop.call_at(job->deadline, [job] {
    job->finish(fail(Errc::Timeout, "the authentication service has not answered", job->request.user));
  });
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kQueueMax) {
    loop.post([job] {
      job->loop->cancel(job->timer);
      job->finish(fail(Errc::Unavailable, "too many logins wait for the authentication service", job->request.user));
    });
    return;
  }
  queue_.push_back(std::move(job));
  if (idle_ < queue_.size() && threads_.size() < kThreads) {
    // Signals are the control thread's.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    threads_.emplace_back([this] { serve(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  work_.notify_one();
}

void BlockingAuth::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (stopping_) return;
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    // Nobody waits any more for one that is past its deadline.
    if (boottime_now() < job->deadline) {
      const Request& request = job->request;
      auto result = request.method == Request::Method::Pam ? check_pam(request) : check_ldap(request);
      job->loop->post([job, result = std::move(result)] {
        job->loop->cancel(job->timer);
        job->finish(result);
      });
    }
    lock.lock();
  }
}

}  // namespace pgvigil::pool
