// The table that decides about pg_rewind, row by row.
#include <gtest/gtest.h>

#include "postgres/rewind.h"

namespace pgvigil::postgres {
namespace {

using Kind = RewindVerdict::Kind;

LeaderHistory leader(std::uint32_t timeline, std::vector<TimelineSwitch> switches) {
  LeaderHistory history;
  history.timeline = Timeline(timeline);
  history.switches = std::move(switches);
  return history;
}
const LeaderHistory kOnThree = leader(3, {{Timeline(1), Lsn(100), ""}, {Timeline(2), Lsn(200), ""}});

Kind standby(std::uint32_t timeline, std::uint64_t position) {
  return compare_histories({Timeline(timeline), Lsn(position), false, {}}, kOnThree).kind;
}
Kind primary(std::uint32_t timeline, std::uint64_t checkpoint, std::uint64_t end) {
  return compare_histories({Timeline(timeline), Lsn(checkpoint), true, Lsn(end)}, kOnThree).kind;
}

TEST(Histories, OfAStandby) {
  EXPECT_EQ(standby(3, 500), Kind::NotNeeded);
  EXPECT_EQ(standby(2, 200), Kind::NotNeeded);
  EXPECT_EQ(standby(2, 201), Kind::Needed);
  EXPECT_EQ(standby(1, 100), Kind::NotNeeded);
  EXPECT_EQ(standby(4, 10), Kind::Needed) << "ahead of the leader's timeline";
}

TEST(Histories, OfAFormerPrimary) {
  EXPECT_EQ(primary(2, 150, 200), Kind::NotNeeded)
      << "its last record is the last that the leader has of this timeline";
  EXPECT_EQ(primary(2, 150, 201), Kind::Needed);
  EXPECT_EQ(primary(2, 150, 199), Kind::Needed);
  EXPECT_EQ(primary(2, 200, 300), Kind::Needed) << "its checkpoint was written after the leader had left";
  EXPECT_EQ(primary(2, 150, 0), Kind::Unknown) << "the end of the record is not known";
}

TEST(Histories, AForeignTimelineIsDiverged) {
  EXPECT_EQ(compare_histories({Timeline(2), Lsn(10), false, {}}, leader(3, {{Timeline(1), Lsn(100), ""}})).kind,
            Kind::Needed);
}

TEST(Histories, ThePositionsAreInTheReason) {
  const auto verdict = compare_histories({Timeline(2), Lsn(0x5000060), false, {}}, kOnThree);
  EXPECT_EQ(verdict.reason, "local timeline 2 ends at 0/5000060, the leader left it at 0/C8");
  EXPECT_EQ(verdict.diverged, Lsn(0x5000060) - Lsn(200));
}

TEST(LocalEnd, IsKnownOnlyAfterACleanEndOrInRecovery) {
  ControlData control;
  control.timeline = Timeline(2);
  control.checkpoint = Lsn(150);
  control.min_recovery_end = Lsn(180);
  control.min_recovery_timeline = Timeline(2);
  for (const auto state : {ControlState::InProduction, ControlState::InCrashRecovery, ControlState::ShuttingDown,
                           ControlState::StartingUp}) {
    control.state = state;
    EXPECT_FALSE(local_end(control));
  }
  control.state = ControlState::ShutDown;
  EXPECT_TRUE(local_end(control)->as_primary);
  control.state = ControlState::ShutDownInRecovery;
  EXPECT_EQ(local_end(control)->position, Lsn(180));
  EXPECT_FALSE(local_end(control)->as_primary);
  control.min_recovery_end = Lsn();
  EXPECT_TRUE(local_end(control)->as_primary);
}

}  // namespace
}  // namespace pgvigil::postgres
