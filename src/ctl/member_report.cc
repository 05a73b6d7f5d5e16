#include "ctl/member_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

namespace pgvigil::ctl {
namespace {

using Json = nlohmann::json;

constexpr Duration kLook = std::chrono::milliseconds(200);
constexpr Duration kCallMax = std::chrono::seconds(10);
constexpr Duration kMoveMax = std::chrono::minutes(5);
constexpr Duration kPromotionMax = std::chrono::minutes(1);

std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Lsn lsn_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? Lsn(found->get<std::uint64_t>()) : Lsn();
}

const Member& member_named(const ClusterView& view, const std::string& name) {
  const auto* member = view.member(MemberName(name));
  if (member == nullptr) throw CommandError{name + " is not a member of the cluster any more"};
  return *member;
}

}  // namespace

MemberReport parse_report(const std::string& text) {
  MemberReport report;
  const auto json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return report;
  report.role = text_of(json, "role");
  report.state = text_of(json, "state");
  report.postmaster_start_time = text_of(json, "postmaster_start_time");
  if (const auto pending = json.find("pending_restart"); pending != json.end()) {
    report.pending_restart = pending->is_boolean() && pending->get<bool>();
  }
  if (const auto xlog = json.find("xlog"); xlog != json.end() && xlog->is_object()) {
    report.replayed = lsn_of(*xlog, "replayed_location");
    report.position = std::max({lsn_of(*xlog, "location"), lsn_of(*xlog, "received_location"), report.replayed});
  }
  if (const auto rows = json.find("replication"); rows != json.end() && rows->is_array()) {
    for (const auto& row : *rows) {
      if (row.is_object() && text_of(row, "state") == "streaming") {
        report.streaming.push_back(text_of(row, "application_name"));
      }
    }
  }
  return report;
}

MemberReport report_of(Context& context, const std::string& name) {
  const auto view = context.view();
  return parse_report(context.call(member_named(*view, name), "GET", "/patroni", {}, kCallMax).body);
}

bool wait_for(Duration patience, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    try {
      if (condition()) return true;
    } catch (const CommandError&) {  // it is being restarted, or etcd elects
    }
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kLook);
  }
}

bool wait_until_it_follows(Context& context, const std::string& name, Duration patience) {
  Lsn wanted;
  return wait_for(patience, [&] {
    const auto leader = report_of(context, leader_name(context));
    if (!leader.runs_as_primary()) return false;
    if (!wanted.known()) wanted = leader.position;
    const auto& senders = leader.streaming;
    if (std::find(senders.begin(), senders.end(), name) == senders.end()) return false;
    const auto report = report_of(context, name);
    return report.state == "running" && !report.runs_as_primary() && report.position >= wanted;
  });
}

void change_leader(Context& context, const std::string& action, const std::string& leader,
                   const std::string& candidate) {
  const auto view = context.view();
  Json body{{"candidate", candidate}};
  if (action == "switchover") body["leader"] = leader;
  const auto reply = context.call(member_named(*view, leader), "POST", "/" + action, body.dump(), kMoveMax);
  if (reply.status != 200) {
    throw CommandError{
        fmt::format("the {} from {} to {} failed: status {}, {}", action, leader, candidate, reply.status, reply.body)};
  }
  const bool leads = wait_for(kPromotionMax, [&] {
    return leader_name(context) == candidate && report_of(context, candidate).runs_as_primary();
  });
  if (!leads) {
    throw CommandError{fmt::format("{} does not lead although the {} was ordered: {}", candidate, action, reply.body)};
  }
}

std::string leader_name(Context& context) {
  const auto view = context.view();
  if (view->leader_member() == nullptr) throw CommandError{"the cluster has no leader"};
  return view->leader->name.text();
}

}  // namespace pgvigil::ctl
