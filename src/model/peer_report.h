// What another member answered about itself.
#pragma once

#include <optional>
#include <string>

#include "model/ids.h"
#include "model/lsn.h"
#include "model/member.h"

namespace pgvigil {

struct PeerReport {  // the parts of GET <api_url> that a race reads
  MemberName name;
  bool running_as_primary = false;  // xlog.location present, or role primary/master
  Role role = Role::Uninitialized;
  std::string state;
  Lsn wal_end;  // max(received, replayed), or location of a primary
  Timeline timeline;
  Tags tags;
  bool watchdog_failed = false;
  SystemId system_id;
};

struct PeerAnswer {  // `report` empty: the member did not answer, or not in a way that can be read
  MemberName name;
  std::optional<PeerReport> report;
};

}  // namespace pgvigil
