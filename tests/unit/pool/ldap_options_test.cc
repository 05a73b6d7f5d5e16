#include "pool/ldap_options.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

TEST(LdapOptionsTest, SimpleBind) {
  const auto options =
      parse_ldap_options(R"(ldapserver=ldap.example.net ldapprefix="cn=" ldapsuffix=", dc=example, dc=net")");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->uris(), "ldap://ldap.example.net:389");
  EXPECT_EQ(options->prefix, "cn=");
  EXPECT_EQ(options->suffix, ", dc=example, dc=net");
  EXPECT_FALSE(options->searches());
}

TEST(LdapOptionsTest, SearchAndBind) {
  const auto options = parse_ldap_options(
      R"(ldapserver="a b:1389" ldapscheme=ldaps ldapbasedn="dc=example,dc=net" ldapbinddn="cn=reader" ldapbindpasswd=secret)");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->uris(), "ldaps://a:636 ldaps://b:1389");
  EXPECT_EQ(options->filter_for("joe"), "(uid=joe)");
  EXPECT_EQ(options->bind_password.reveal(), "secret");
}

TEST(LdapOptionsTest, AQuotedPairIsOneOption) {
  const auto options = parse_ldap_options(R"("ldapserver=h" "ldapbasedn=ou=a b,dc=c" ldapsearchattribute=cn)");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->base_dn, "ou=a b,dc=c");
  EXPECT_EQ(options->filter_for("x"), "(cn=x)");
}

TEST(LdapOptionsTest, Url) {
  const auto options = parse_ldap_options("ldapurl=ldaps://h:7636/dc=example%2Cdc=net?mail?sub?(a=$username)");
  ASSERT_TRUE(options.has_value() == false);  // an attribute and a filter
  const auto one = parse_ldap_options("ldapurl=ldap://h/dc=example%2Cdc=net?mail?sub");
  ASSERT_TRUE(one) << one.error().message();
  EXPECT_EQ(one->uris(), "ldap://h:389");
  EXPECT_EQ(one->base_dn, "dc=example,dc=net");
  EXPECT_EQ(one->search_attribute, "mail");
  EXPECT_EQ(one->scope, LdapOptions::Scope::Subtree);
}

TEST(LdapOptionsTest, ANameCannotWidenTheSearch) {
  const auto options =
      parse_ldap_options(R"x(ldapserver=h ldapbasedn=dc=x ldapsearchfilter="(|(uid=$username)(mail=$username))")x");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->filter_for("*)(a\\"), "(|(uid=\\2a\\29\\28a\\5c)(mail=\\2a\\29\\28a\\5c))");
  EXPECT_EQ(options->filter_for("$username"), "(|(uid=$username)(mail=$username))");
}

TEST(LdapOptionsTest, Refusals) {
  for (const char* text :
       {"", "ldapserver=h", "ldapserver=h ldapprefix=a ldapbasedn=b", "ldapserver=h ldapport=x ldapprefix=a",
        "ldapserver=h ldapprefx=a", "ldapserver", "ldapserver=\"h", "ldapurl=http://h/x",
        "ldapserver=h ldapbasedn=b ldapsearchattribute=c ldapsearchfilter=d"}) {
    EXPECT_FALSE(parse_ldap_options(text)) << text;
  }
}

TEST(LdapOptionsTest, ErrorsKeepTheSecret) {
  const auto options = parse_ldap_options("ldapserver=h ldapbasedn=b ldapbindpasswd=topsecret ldapport=0");
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().message().find("topsecret"), std::string::npos);
}

}  // namespace
}  // namespace pgvigil::pool
