// What etcd makes of a compare, for the stores that stand in for it. etcd documentation, "Transaction".
#pragma once

#include "dcs/kv_store.h"

namespace pgvigil::test {

// `kv`: what the key holds; null: it does not exist, and counts as revision and lease 0.
inline bool holds(const dcs::Compare& compare, const dcs::KeyValue* kv) {
  using Target = dcs::Compare::Target;
  switch (compare.target) {
    case Target::CreateRevision: return (kv == nullptr ? 0 : kv->create_revision.value()) == compare.number;
    case Target::ModRevision: return (kv == nullptr ? 0 : kv->mod_revision.value()) == compare.number;
    case Target::Lease: return (kv == nullptr ? 0 : kv->lease.value()) == compare.number;
    case Target::Value: return kv != nullptr && kv->value == compare.value;
  }
  return false;
}

}  // namespace pgvigil::test
