// HBA file and ident map.
#include "poolcfg/hba.h"

#include "helpers.h"
#include "poolcfg/address.h"

namespace pgvigil::poolcfg {
namespace {

using Replication = HbaQuery::Replication;

HbaQuery from(const std::string& address, std::string_view database = "db", std::string_view user = "u",
              bool tls = false, Replication replication = Replication::None) {
  HbaQuery query;
  if (!address.empty()) query.address = parse_address(address).value();
  query.database = database;
  query.user = user;
  query.tls = tls;
  query.replication = replication;
  return query;
}

HbaFile rules(const std::string& text) {
  HbaFile file = parse_hba(text, "hba.conf");
  EXPECT_THAT(file.warnings, IsEmpty());
  return file;
}

std::string skipped(const std::string& line) {
  const HbaFile file = parse_hba("\n" + line + "\nlocal all all trust\n", "hba.conf");
  EXPECT_EQ(file.rules.size(), 1U) << line;
  return file.warnings.size() == 1 ? file.warnings[0] : "no warning";
}

int line_of(const HbaFile& file, const HbaQuery& query) {
  const HbaRule* rule = file.match(query);
  return rule == nullptr ? 0 : rule->line;
}

TEST(Hba, TheFirstThatMatches) {
  const auto file = rules("# c\nlocal all all peer\nhost db u 10.0.0.0/8 md5 # c\nhost all all all reject\n");
  EXPECT_EQ(line_of(file, from("")), 2);
  EXPECT_EQ(line_of(file, from("10.1.2.3")), 3);
  EXPECT_EQ(line_of(file, from("10.1.2.3", "other")), 4);
  EXPECT_EQ(line_of(file, from("10.1.2.3", "db", "v")), 4);
  EXPECT_EQ(line_of(file, from("11.1.2.3")), 4);
  EXPECT_EQ(line_of(file, from("::1")), 4);
  EXPECT_EQ(rules("local all all trust\n").match(from("127.0.0.1")), nullptr);
}

TEST(Hba, Masks) {
  const auto file = rules(
      "host all all 10.1.2.3/16 md5\nhost all all 192.168.0.0 255.255.255.0 md5\nhost all all 2001:db8::/33 md5\n"
      "host all all fe80:: ffff:: md5\nhost all all 1.2.3.4/32 md5\nhost all all ::1/128 md5\n");
  EXPECT_EQ(line_of(file, from("10.1.255.255")), 1);
  EXPECT_EQ(line_of(file, from("10.2.0.0")), 0);
  EXPECT_EQ(line_of(file, from("192.168.0.255")), 2);
  EXPECT_EQ(line_of(file, from("192.168.1.0")), 0);
  EXPECT_EQ(line_of(file, from("2001:db8:7fff::1")), 3);
  EXPECT_EQ(line_of(file, from("2001:db8:8000::1")), 0);
  EXPECT_EQ(line_of(file, from("fe80:1::1")), 4);
  EXPECT_EQ(line_of(file, from("1.2.3.4")), 5);
  EXPECT_EQ(line_of(file, from("1.2.3.5")), 0);
  EXPECT_EQ(line_of(file, from("::1")), 6);
}

TEST(Hba, TheVersionsDoNotMix) {
  const auto four = rules("host all all 0.0.0.0/0 md5\n"), six = rules("host all all ::/0 md5\n");
  EXPECT_EQ(line_of(four, from("9.9.9.9")), 1);
  EXPECT_EQ(line_of(four, from("9::9")), 0);
  EXPECT_EQ(line_of(six, from("9::9")), 1);
  EXPECT_EQ(line_of(six, from("9.9.9.9")), 0);
  EXPECT_EQ(line_of(four, from("::ffff:9.9.9.9")), 1);  // as a socket for both reports it
}

TEST(Hba, Tls) {
  const auto file = rules("hostssl all all all cert\nhostnossl all all all md5\n");
  EXPECT_EQ(line_of(file, from("1.1.1.1", "db", "u", true)), 1);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "db", "u", false)), 2);
  EXPECT_EQ(line_of(file, from("")), 0);
}

TEST(Hba, NamesQuotesAndLists) {
  const auto file = rules("host a,\"b c\", d u,\"all\" all md5\nhost sameuser all all trust\nhost \"all\" x all md5\n");
  EXPECT_EQ(line_of(file, from("1.1.1.1", "b c", "u")), 1);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "d", "all")), 1);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "d", "x")), 0);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "x", "x")), 2);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "all", "x")), 3);
  EXPECT_EQ(rules("host \"a\"\"b\" all all md5\n").rules[0].databases.names[0], "a\"b");
}

TEST(Hba, Replication) {
  const auto file = rules("host all u all md5\nhost replication u all trust\n");
  EXPECT_EQ(line_of(file, from("1.1.1.1", "", "u", false, Replication::Physical)), 2);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "db", "u", false, Replication::Logical)), 1);
  EXPECT_EQ(line_of(file, from("1.1.1.1", "replication", "u")), 1);
  EXPECT_EQ(line_of(rules("host replication all all md5\n"), from("1.1.1.1", "replication", "u")), 0);
  EXPECT_EQ(line_of(rules("host \"replication\" all all md5\n"), from("1.1.1.1", "replication", "u")), 1);
  EXPECT_EQ(line_of(rules("host sameuser all all md5\n"), from("1.1.1.1", "u", "u", false, Replication::Physical)), 0);
}

TEST(Hba, FilesOfNames) {
  Directory directory;
  directory.write("dbs", "a, b # c\n\"c d\"\n@more\n");
  directory.write("more", "e\n");
  const auto path = directory.write("hba.conf", "host @dbs all all md5\nhost @missing all all md5\n");
  const auto file = load_hba(path);
  ASSERT_TRUE(file);
  EXPECT_THAT(file->rules[0].databases.names, ElementsAre("a", "b", "c d", "e"));
  EXPECT_THAT(file->warnings, ElementsAre(AllOf(HasSubstr("hba.conf:2"), HasSubstr("missing"))));
  EXPECT_EQ(rules("host \"@dbs\" all all md5\n").rules[0].databases.names[0], "@dbs");
  directory.write("self", "@self\n");
  EXPECT_THAT(parse_hba("host @self all all md5\n", path).warnings, ElementsAre(HasSubstr("10 files deep")));
}

TEST(Hba, Methods) {
  const auto file = rules(
      "local all all peer map=m\nhostssl all all all cert map=\"a b\"\nhost all all all password\n"
      "host all all all scram-sha-256\nhost all all all ldap ldapserver=x ldapprefix=\"a # b\" # c\n");
  EXPECT_EQ(file.rules[0].map, "m");
  EXPECT_EQ(file.rules[1].map, "a b");
  EXPECT_EQ(file.rules[2].method, AuthType::Plain);
  EXPECT_EQ(file.rules[3].method, AuthType::ScramSha256);
  EXPECT_EQ(file.rules[4].options, "ldapserver=x ldapprefix=\"a # b\"");
}

TEST(Hba, ALineThatDoesNotParseIsSkippedAndNamed) {
  EXPECT_THAT(skipped("hosts all all all md5"), AllOf(HasSubstr("hba.conf:2"), HasSubstr("valid: local, host")));
  EXPECT_THAT(skipped("host all all all ident"), HasSubstr("valid: trust, reject, md5"));
  EXPECT_THAT(skipped("host all all all pam"), HasSubstr("is not a known method"));
  EXPECT_THAT(skipped("host all +staff all md5"), HasSubstr("groups and regular expressions are not supported"));
  EXPECT_THAT(skipped("host all /^a all md5"), HasSubstr("not supported"));
  EXPECT_THAT(skipped("host samerole u all md5"), HasSubstr("samerole is not supported"));
  EXPECT_THAT(skipped("host all all samenet md5"), HasSubstr("valid: all, ADDRESS/BITS"));
  EXPECT_THAT(skipped("host all all example.org md5"), HasSubstr("names of hosts are not supported"));
  EXPECT_THAT(skipped("host all all 10.0.0.0/33 md5"), HasSubstr("\"33\" is not a mask"));
  EXPECT_THAT(skipped("host all all ::1/129 md5"), HasSubstr("is not a mask"));
  EXPECT_THAT(skipped("host all all 10.0.0.0/ md5"), HasSubstr("is not a mask"));
  EXPECT_THAT(skipped("host all all 10.0.0.0 md5"), HasSubstr("\"md5\" is not a mask of 10.0.0.0"));
  EXPECT_THAT(skipped("host all all 10.0.0.0 ffff:: md5"), HasSubstr("is not a mask"));
  EXPECT_THAT(skipped("host all all 10.0.0/8 md5"), HasSubstr("is not an address"));
  EXPECT_THAT(skipped("host all all"), HasSubstr("the address is missing"));
  EXPECT_THAT(skipped("host all"), HasSubstr("the user is missing"));
  EXPECT_THAT(skipped("local all all"), HasSubstr("the method is missing"));
  EXPECT_THAT(skipped("local all all md5 x=y"), HasSubstr("this method has no options"));
  EXPECT_THAT(skipped("local all all peer map=a b"), HasSubstr("something follows map=NAME"));
  EXPECT_THAT(skipped("local \"all all md5"), HasSubstr("do not end"));
  EXPECT_THAT(skipped("local a\"b\" all md5"), HasSubstr("quotes begin inside"));
  EXPECT_THAT(skipped("local @ all md5"), HasSubstr("@ without"));
}

TEST(Hba, ALostRejectRefusesTheFile) {
  Directory directory;
  const auto file = load_hba(directory.write("hba.conf", "host all +evil all reject\nhost all all all md5\n"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message(), AllOf(HasSubstr("hba.conf:1"), HasSubstr("would get in"), HasSubstr("+evil")));
  EXPECT_TRUE(load_hba(directory.write("hba.conf", "host all +good all md5\nhost all reject all md5\n")));
  EXPECT_THAT(load_hba("/nowhere").error().message(), HasSubstr("cannot read the HBA file /nowhere"));
}

TEST(Ident, Maps) {
  const auto map = parse_ident("# c\nm root postgres\nm \"web app\" \"all\"\nn www all # c\n", "ident.conf");
  EXPECT_THAT(map.warnings, IsEmpty());
  EXPECT_TRUE(map.permits("m", "root", "postgres"));
  EXPECT_FALSE(map.permits("m", "root", "root"));
  EXPECT_TRUE(map.permits("m", "web app", "all"));
  EXPECT_FALSE(map.permits("m", "web app", "x"));
  EXPECT_TRUE(map.permits("n", "www", "anybody"));
  EXPECT_FALSE(map.permits("o", "www", "www"));
  EXPECT_TRUE(map.permits("", "same", "same"));
  EXPECT_FALSE(map.permits("", "www", "anybody"));
}

TEST(Ident, WhatIsSkipped) {
  const auto map = parse_ident("m a\nm a b c\nm /^(.*)$ x\nm \"a b\n\nm a b\n", "ident.conf");
  EXPECT_EQ(map.lines.size(), 1U);
  EXPECT_THAT(map.warnings,
              ElementsAre(AllOf(HasSubstr("ident.conf:1"), HasSubstr("MAP SYSTEM-USER DATABASE-USER")),
                          HasSubstr("ident.conf:2"), HasSubstr("regular expressions"), HasSubstr("ident.conf:4")));
  EXPECT_FALSE(load_ident("/nowhere"));
}

}  // namespace
}  // namespace pgvigil::poolcfg
