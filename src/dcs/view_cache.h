// The cached view of one cluster: keys in, ClusterView out. Only keys that changed are parsed. Inside dcs/ only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "dcs/cluster_store.h"

namespace pgvigil::dcs {

class ViewCache {
 public:
  ViewCache(Log log, std::string prefix, ClusterSettings initial, SettingsParser parse_settings);

  // A read of the whole prefix at `revision`. Keys that are known to be newer stay. Returns the keys that changed.
  std::vector<std::string> load(const std::vector<KeyValue>& kvs, Revision revision);
  // One change; ignored (false) when the key is known at this revision or a later one.
  bool put(const KeyValue& kv);
  bool erase(const std::string& full_key, Revision revision);
  void reached(Revision revision);

  [[nodiscard]] std::shared_ptr<const ClusterView> view() const { return loaded_ ? view_ : nullptr; }
  [[nodiscard]] std::string short_name(const std::string& full_key) const;

 private:
  ClusterView& edit();  // the view to change: a copy of the one that readers hold
  void apply(const std::string& name, const KeyValue* kv);
  void apply_config(const KeyValue* kv);
  void apply_member(const std::string& name, const KeyValue* kv);
  void apply_pooler(const std::string& name, const KeyValue* kv);

  Log log_;
  std::string prefix_;
  SettingsParser parse_settings_;
  std::shared_ptr<ClusterView> view_;
  std::map<std::string, Revision> known_;  // by full key: the last change seen, deletions included
  std::map<std::string, bool> present_;
  Lsn legacy_optime_;
  bool has_status_ = false;
  bool loaded_ = false;
};

}  // namespace pgvigil::dcs
