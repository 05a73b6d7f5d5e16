#include "api/unsafe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "config/dynamic.h"

namespace pgvigil::api {
namespace {

constexpr Duration kPollEvery = std::chrono::milliseconds(50);
constexpr Duration kUnknownWriteWait = std::chrono::seconds(3);
constexpr Duration kWriteTimeMax = std::chrono::seconds(10);
// A vanished failover key is final only if no new leader shows up within this time: the key may be cleared a moment
// before the new leader's lock is seen.
constexpr Duration kVanishedGrace = std::chrono::seconds(1);
// A restart is bounded by the agent; this is for the caller only. It allows for a long shutdown checkpoint.
constexpr Duration kRestartBound = std::chrono::minutes(15);
constexpr Duration kShortBound = std::chrono::seconds(60);

struct Known {
  std::string_view method, segment;
};
constexpr std::array kKnown{Known{"PATCH", "config"},  Known{"PUT", "config"},        Known{"POST", "reload"},
                            Known{"POST", "restart"},  Known{"DELETE", "restart"},    Known{"POST", "switchover"},
                            Known{"POST", "failover"}, Known{"DELETE", "switchover"}, Known{"POST", "reinitialize"},
                            Known{"POST", "failsafe"}, Known{"POST", "sigterm"}};

// g++ 12 mishandles braced aggregates in coroutines; a function that returns one is safe.
agent::CommandReply answer(int status, std::string text) { return {status, std::move(text)}; }

Reply reply_of(agent::CommandReply reply) { return text_reply(reply.status, std::move(reply.text)); }

// A body as a JSON object, or the refusal. `optional`: none, or an empty one, counts as {}.
tl::expected<Json, Reply> read_body(const Request& request, bool optional) {
  if (!request.has_length) {
    if (optional) return Json::object();
    return tl::make_unexpected(error_page(411));
  }
  if (request.body.empty() && optional) return Json::object();
  auto body = parse_json_object(request.body);
  if (!body || (body->empty() && !optional)) return tl::make_unexpected(error_page(400));
  return std::move(*body);
}

std::string capitalized(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

bool same_order(const FailoverRequest& seen, const FailoverOrder& order) {
  return seen.leader.text() == order.leader && seen.candidate.text() == order.candidate &&
         seen.scheduled_at.has_value() == order.schedule.has_value();
}

Task<void> run_into(Task<agent::CommandReply> command, std::shared_ptr<std::optional<agent::CommandReply>> reply,
                    std::shared_ptr<Signal> done) {
  *reply = co_await std::move(command);
  done->notify();
}

struct Poll {
  explicit Poll(Clock& clock) : changed(clock) {}
  Signal changed;
  std::size_t open = 0;
  bool found = false;
};

Task<void> ask_one(agent::Commands& commands, MemberName member, std::shared_ptr<Poll> poll) {
  const bool good = co_await commands.can_take_over(std::move(member));
  poll->found = poll->found || good;
  --poll->open;
  poll->changed.notify();
}

void log_problems(const Log& log, const std::string& json) {
  // Accepted all the same, as clients of this interface expect; unusable values count as their defaults.
  for (const auto& problem : config::check_dynamic(json)) log.warning("dynamic configuration: {}", problem.message());
}

}  // namespace

bool UnsafeRequests::knows(const Request& request) {
  return std::any_of(kKnown.begin(), kKnown.end(), [&](const Known& known) {
    return known.method == request.method && known.segment == request.target.segment;
  });
}

TimePoint UnsafeRequests::write_deadline() const {
  const auto status = commands_.status();
  const Duration patience = status->view ? status->view->settings.retry_timeout : kWriteTimeMax;
  return clock_.now() + std::min(patience, kWriteTimeMax);
}

Task<Reply> UnsafeRequests::carry_out(Request request) {
  const std::string& segment = request.target.segment;
  log_.info("request {} /{} from {}", request.method, segment, request.peer_address);
  if (request.method == "PATCH") co_return co_await patch_config(std::move(request));
  if (request.method == "PUT") co_return co_await put_config(std::move(request));
  if (request.method == "POST") co_return co_await post(std::move(request));
  if (segment == "switchover") co_return co_await delete_switchover();
  auto command = commands_.delete_scheduled_restart();
  co_return reply_of(co_await bounded(std::move(command), kShortBound, "deletion of the scheduled restart"));
}

Task<Reply> UnsafeRequests::post(Request request) {
  const std::string& segment = request.target.segment;
  if (segment == "reload") co_return reply_of(commands_.reload());
  if (segment == "restart") co_return co_await restart(std::move(request));
  if (segment == "reinitialize") co_return co_await reinitialize(std::move(request));
  if (segment == "failsafe") co_return co_await failsafe(std::move(request));
  // Answered for completeness; it stops the agent nowhere: Patroni acts on it only in a debug build for Windows.
  if (segment == "sigterm") co_return text_reply(202, "shutdown scheduled");
  co_return co_await failover(std::move(request));
}

Task<Reply> UnsafeRequests::patch_config(Request request) {
  const auto body = read_body(request, false);
  if (!body) co_return body.error();
  const auto status = commands_.status();
  if (!status->view || !status->view->config) co_return error_page(503);
  const auto patched = config::merge_patch(*status->view->config, request.body);
  if (!patched) {
    log_.warning("{}", patched.error().message());
    co_return error_page(503);
  }
  if (patched->changed) {
    log_problems(log_, patched->json);
    const auto written =
        co_await commands_.write_config(patched->json, status->view->config_revision, write_deadline());
    if (written.outcome == dcs::WriteOutcome::Refused) co_return error_page(409);
    if (written.outcome == dcs::WriteOutcome::Unknown) co_return error_page(503);
  }
  const auto config = parse_json_object(patched->json);
  co_return config ? json_reply(200, *config) : error_page(503);
}

Task<Reply> UnsafeRequests::put_config(Request request) {
  const auto body = read_body(request, false);
  if (!body) co_return body.error();
  const auto status = commands_.status();
  const auto current =
      status->view && status->view->config ? parse_json_object(*status->view->config) : std::optional<Json>();
  if (!current || *current != *body) {
    const std::string json = dump_compact(*body);
    log_problems(log_, json);
    const auto written = co_await commands_.write_config(json, std::nullopt, write_deadline());
    if (written.outcome != dcs::WriteOutcome::Applied) co_return error_page(502);
  }
  co_return json_reply(200, *body);
}

Task<Reply> UnsafeRequests::restart(Request request) {
  const auto body = read_body(request, true);
  if (!body) co_return body.error();
  const auto status = commands_.status();
  const bool paused = status->paused || (status->view && status->view->settings.pause);
  if (paused && body->contains("schedule")) co_return text_reply(500, "Can't schedule restart in the paused state");
  agent::CommandReply refusal;
  auto order = parse_restart(*body, clock_.wall(), refusal);
  if (!order) co_return reply_of(std::move(refusal));
  if (order->schedule) {
    auto command = commands_.schedule_restart(std::move(*order));
    co_return reply_of(co_await bounded(std::move(command), kShortBound, "restart"));
  }
  const Duration start_time =
      order->timeout.value_or(status->view ? status->view->settings.primary_start_timeout : Duration(0));
  auto command = commands_.restart(std::move(*order));
  co_return reply_of(co_await bounded(std::move(command), kRestartBound + start_time, "restart"));
}

Task<Reply> UnsafeRequests::reinitialize(Request request) {
  const auto body = read_body(request, true);
  if (!body) co_return body.error();
  const auto flag = [&](const char* key) {
    const auto found = body->find(key);
    return found != body->end() && parse_switch(*found);
  };
  auto command = commands_.reinitialize(flag("force"), flag("from_leader"));
  co_return reply_of(co_await bounded(std::move(command), kShortBound, "reinitialize"));
}

Task<Reply> UnsafeRequests::failsafe(Request request) {
  const auto status = commands_.status();
  // Checked before the body: a peer that asks while the mode is off learns only that.
  if (status->view && !status->view->settings.failsafe_mode) co_return error_page(502);
  const auto body = read_body(request, false);
  if (!body) co_return body.error();
  const auto text = [&](const char* key) {
    const auto found = body->find(key);
    return found != body->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const std::string name = text("name");
  if (name.empty()) co_return error_page(400);
  std::optional<Duration> ttl;
  if (const auto found = body->find("ttl"); found != body->end() && found->is_number_unsigned()) {
    ttl = std::chrono::milliseconds(std::min<std::uint64_t>(found->get<std::uint64_t>(), 86'400'000));
  }
  const auto ping = commands_.failsafe_ping(name, text("conn_url"), text("api_url"), ttl);
  if (ping.status == 502) co_return error_page(502);
  Reply reply = text_reply(ping.status, ping.text);
  if (ping.lsn.known()) reply.headers.emplace_back("lsn", std::to_string(ping.lsn.value()));
  co_return reply;
}

Task<Reply> UnsafeRequests::delete_switchover() {
  const auto status = commands_.status();
  if (!status->view) co_return error_page(503);
  const auto& failover = status->view->failover;
  if (!failover || !failover->scheduled_at) co_return text_reply(404, "no switchover is scheduled");
  const auto written = co_await commands_.write_failover("{}", failover->mod_revision, write_deadline());
  if (written.outcome != dcs::WriteOutcome::Applied) co_return error_page(409);
  co_return text_reply(200, "scheduled switchover deleted");
}

Task<Reply> UnsafeRequests::failover(Request request) {
  const std::string path_action = request.target.segment;
  const auto body = read_body(request, false);
  if (!body) co_return body.error();
  const auto status = commands_.status();
  if (!status->view) co_return error_page(503);
  const ClusterView& view = *status->view;
  agent::CommandReply refusal;
  auto order = check_failover(path_action, *body, view, status->paused || view.settings.pause, clock_.wall(), refusal);
  if (!order) co_return reply_of(std::move(refusal));
  log_.info("{} ordered: leader={} candidate={} at={}", order->action(), order->leader, order->candidate,
            order->schedule ? order->schedule->text : "now");
  if (!order->schedule) {
    std::vector<MemberName> members;
    for (const Member& member : view.members) {
      const bool chosen = order->candidate.empty() ? !view.led_by(member.name) : member.name.text() == order->candidate;
      const auto& standbys = view.sync.standbys;
      const bool sync_only = order->candidate.empty() && view.settings.synchronous_mode == SyncMode::On;
      const bool fits = !sync_only || std::find(standbys.begin(), standbys.end(), member.name) != standbys.end();
      if (chosen && fits) members.push_back(member.name);
    }
    const bool possible = co_await any_can_take_over(std::move(members));
    if (!possible) {
      co_return text_reply(412, order->action() + " is not possible: no good candidates have been found");
    }
  }
  Revision written;
  const bool accepted = co_await write_order(*order, &written);
  if (!accepted) co_return text_reply(503, "failed to write failover key into DCS");
  if (order->schedule) co_return text_reply(202, capitalized(order->action()) + " scheduled");
  const MemberName old_leader = view.leader ? view.leader->name : MemberName();
  co_return reply_of(co_await poll_outcome(std::move(*order), old_leader, written));
}

Task<bool> UnsafeRequests::any_can_take_over(std::vector<MemberName> members) {
  const auto poll = std::make_shared<Poll>(clock_);
  const TimePoint deadline = clock_.now() + kShortBound;
  for (const MemberName& member : members) {
    ++poll->open;
    tasks_.spawn(ask_one(commands_, member, poll));
  }
  while (!poll->found && poll->open > 0 && clock_.now() < deadline) co_await poll->changed.wait_until(deadline);
  co_return poll->found;
}

Task<bool> UnsafeRequests::write_order(FailoverOrder order, Revision* written) {
  const auto reply = co_await commands_.write_failover(order.key(), std::nullopt, write_deadline());
  *written = reply.revision;
  if (reply.outcome == dcs::WriteOutcome::Applied) co_return true;
  if (reply.outcome == dcs::WriteOutcome::Refused) co_return false;
  // Sent and not answered: it is written if it shows up, and only then.
  const TimePoint deadline = clock_.now() + kUnknownWriteWait;
  while (clock_.now() < deadline) {
    const auto status = commands_.status();
    if (status->view && status->view->failover && same_order(*status->view->failover, order)) {
      *written = status->view->failover->mod_revision;
      co_return true;
    }
    co_await sleep_for(clock_, kPollEvery);
  }
  co_return false;
}

Task<agent::CommandReply> UnsafeRequests::poll_outcome(FailoverOrder order, MemberName old_leader, Revision written) {
  const auto before = commands_.status();
  const ClusterSettings settings = before->view ? before->view->settings : ClusterSettings();
  const Duration patience =
      2 * std::max<Duration>(std::chrono::seconds(10), settings.loop_wait) + settings.switchover_drain_timeout;
  const TimePoint deadline = clock_.now() + patience;
  const std::string verb = order.switchover ? "switch" : "fail";
  std::optional<TimePoint> vanished;
  while (clock_.now() < deadline) {
    const auto status = commands_.status();
    // A view from before the write knows nothing of this order.
    if (status->view && status->view->revision >= written) {
      const ClusterView& view = *status->view;
      if (view.leader && view.leader->name != old_leader) {
        const std::string& winner = view.leader->name.text();
        if (order.candidate.empty() || order.candidate == winner) {
          co_return answer(200, fmt::format("Successfully {}ed over to \"{}\"", verb, winner));
        }
        co_return answer(
            200, fmt::format("{}ed over to \"{}\" instead of \"{}\"", capitalized(verb), winner, order.candidate));
      }
      if (view.failover) vanished.reset();
      if (!view.failover && !vanished) vanished = clock_.now();
      if (vanished && clock_.now() - *vanished >= kVanishedGrace) {
        co_return answer(503, capitalized(order.action()) + " failed");
      }
    }
    co_await sleep_for(clock_, kPollEvery);
  }
  co_return answer(503, capitalized(order.action()) + " status unknown");
}

Task<agent::CommandReply> UnsafeRequests::bounded(Task<agent::CommandReply> command, Duration bound,
                                                  std::string action) {
  const auto reply = std::make_shared<std::optional<agent::CommandReply>>();
  const auto done = std::make_shared<Signal>(clock_);
  const TimePoint deadline = clock_.now() + bound;
  tasks_.spawn(run_into(std::move(command), reply, done));
  while (!*reply && clock_.now() < deadline) co_await done->wait_until(deadline);
  if (*reply) co_return **reply;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(bound).count();
  co_return answer(
      503, fmt::format("{} status unknown after {} seconds; operation may still be in progress", action, seconds));
}

}  // namespace pgvigil::api
