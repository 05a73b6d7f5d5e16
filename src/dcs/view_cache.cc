#include "dcs/view_cache.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "dcs/layout.h"
#include "dcs/member_json.h"

namespace pgvigil::dcs {
namespace {

// Zero: not a number.
std::uint32_t parse_timeline(const std::string& text) {
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

ViewCache::ViewCache(Log log, std::string prefix, ClusterSettings initial, SettingsParser parse_settings)
    : log_(log),
      prefix_(std::move(prefix)),
      parse_settings_(std::move(parse_settings)),
      view_(std::make_shared<ClusterView>()) {
  view_->settings = std::move(initial);
}

std::string ViewCache::short_name(const std::string& full_key) const {
  return full_key.size() > prefix_.size() ? full_key.substr(prefix_.size()) : std::string();
}

ClusterView& ViewCache::edit() {
  if (view_.use_count() > 1) view_ = std::make_shared<ClusterView>(*view_);
  return *view_;
}

void ViewCache::reached(Revision revision) {
  if (revision > view_->revision) edit().revision = revision;
}

std::vector<std::string> ViewCache::load(const std::vector<KeyValue>& kvs, Revision revision) {
  std::vector<std::string> changed;
  std::set<std::string> seen;
  for (const auto& kv : kvs) {
    seen.insert(kv.key);
    if (put(kv)) changed.push_back(short_name(kv.key));
  }
  std::vector<std::string> gone;
  for (const auto& [key, present] : present_) {
    if (present && seen.count(key) == 0) gone.push_back(key);
  }
  for (const auto& key : gone) {
    if (erase(key, revision)) changed.push_back(short_name(key));
  }
  loaded_ = true;
  reached(revision);
  return changed;
}

bool ViewCache::put(const KeyValue& kv) {
  auto& known = known_[kv.key];
  if (known >= kv.mod_revision) return false;
  known = kv.mod_revision;
  present_[kv.key] = true;
  apply(short_name(kv.key), &kv);
  return true;
}

bool ViewCache::erase(const std::string& full_key, Revision revision) {
  auto& known = known_[full_key];
  if (known >= revision) return false;
  known = revision;
  const bool was_there = present_[full_key];
  present_[full_key] = false;
  if (was_there) apply(short_name(full_key), nullptr);
  return was_there;
}

void ViewCache::apply(const std::string& name, const KeyValue* kv) {
  ClusterView& v = edit();
  const std::string value = kv != nullptr ? kv->value : std::string();
  const Revision revision = kv != nullptr ? kv->mod_revision : Revision();
  if (name == kLeaderKey) {
    v.leader.reset();
    if (kv != nullptr && !value.empty())
      v.leader = LeaderKey{MemberName(value), Term(kv->create_revision), revision, kv->lease};
  } else if (name == kInitializeKey) {
    v.initialize = kv != nullptr ? std::optional<std::string>(value) : std::nullopt;
    v.initialize_revision = revision;
  } else if (name == kConfigKey) {
    apply_config(kv);
  } else if (name == kStatusKey) {
    has_status_ = kv != nullptr;
    v.status = has_status_ ? parse_status(value) : ClusterStatus{legacy_optime_, {}, {}};
    v.status_revision = revision;
  } else if (name == kLegacyOptimeKey) {
    legacy_optime_ = kv != nullptr ? parse_status(value).optime : Lsn();
    if (!has_status_) v.status.optime = legacy_optime_;
  } else if (name == kFailoverKey) {
    v.failover = kv != nullptr ? parse_failover(value) : std::nullopt;
    if (v.failover) v.failover->mod_revision = revision;
  } else if (name == kSyncKey) {
    v.sync = kv != nullptr ? parse_sync(value) : SyncKey();
    v.sync.mod_revision = revision;
  } else if (name == kHistoryKey) {
    v.history = kv != nullptr ? parse_history(value) : std::vector<HistoryEntry>();
    v.history_revision = revision;
    v.history_text = kv != nullptr ? std::optional<std::string>(value) : std::nullopt;
  } else if (name == kFailsafeKey) {
    v.failsafe_present = kv != nullptr;
    v.failsafe = kv != nullptr ? parse_failsafe(value) : std::map<std::string, std::string>();
  } else if (name == kTimelineKey) {
    v.reserved_timeline = Timeline(parse_timeline(value));
    v.reserved_revision = revision;
  } else if (name == kCrashKey) {
    v.crash = kv != nullptr ? parse_crash(value) : std::nullopt;
  } else if (name == kConfigHistoryKey) {
    v.config_history = parse_config_history(value);
  } else if (name == kBootstrapKey) {
    v.bootstrap_alive = kv != nullptr;
  } else if (name == kBootstrapOwnerKey) {
    v.bootstrap_owner = MemberName(value);
    v.bootstrap_claim = revision;
  } else if (name == kDrainKey) {
    v.drain = kv != nullptr ? parse_drain(value) : std::nullopt;
    if (v.drain) v.drain->mod_revision = revision;
  } else if (name == kDrainNoteKey) {
    v.drained = kv != nullptr ? parse_drain_note(value) : std::nullopt;
  } else if (name.starts_with(kMembersFolder)) {
    apply_member(name.substr(kMembersFolder.size()), kv);
  } else if (name.starts_with(kPoolersFolder)) {
    apply_pooler(name.substr(kPoolersFolder.size()), kv);
  }
}

void ViewCache::apply_config(const KeyValue* kv) {
  ClusterView& v = edit();
  v.config = kv != nullptr ? std::optional<std::string>(kv->value) : std::nullopt;
  v.config_revision = kv != nullptr ? kv->mod_revision : Revision();
  if (kv == nullptr || !parse_settings_) return;  // settings of a config that vanished stay in force
  if (auto settings = parse_settings_(kv->value)) {
    v.settings = std::move(*settings);
  } else {
    log_.error("the last good dynamic configuration stays in force: {}", settings.error().message());
  }
}

void ViewCache::apply_member(const std::string& name, const KeyValue* kv) {
  if (name.empty() || name.find('/') != std::string::npos) return;
  ClusterView& v = edit();
  const MemberName member_name(name);
  const auto place = std::lower_bound(v.members.begin(), v.members.end(), member_name,
                                      [](const Member& m, const MemberName& n) { return m.name < n; });
  const bool exists = place != v.members.end() && place->name == member_name;
  if (kv == nullptr) {
    if (exists) v.members.erase(place);
    return;
  }
  Member member = parse_member(member_name, kv->value);
  member.lease = kv->lease;
  member.mod_revision = kv->mod_revision;
  if (exists) {
    *place = std::move(member);
  } else {
    v.members.insert(place, std::move(member));
  }
}

void ViewCache::apply_pooler(const std::string& name, const KeyValue* kv) {
  if (name.empty() || name.find('/') != std::string::npos) return;
  auto& poolers = edit().poolers;
  const auto place = std::lower_bound(poolers.begin(), poolers.end(), name,
                                      [](const Pooler& p, const std::string& n) { return p.name < n; });
  const bool exists = place != poolers.end() && place->name == name;
  if (kv == nullptr) {
    if (exists) poolers.erase(place);
  } else if (exists) {
    *place = parse_pooler(name, kv->value);
  } else {
    poolers.insert(place, parse_pooler(name, kv->value));
  }
}

}  // namespace pgvigil::dcs
