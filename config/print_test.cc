// A configuration that is printed and read again is the same.
#include "config/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/parser.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "testdata/config/";

absl::StatusOr<std::string> ReadTestFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError("No such file or directory");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

ParseResult Parse(const std::string& text) {
  ParseOptions options;
  options.path = "c.conf";
  options.server_name = "mx.example.org";
  options.local_addresses = {"127.0.0.1", "::1", "192.0.2.1"};
  return ParseConfig(
      options, [&](const std::string& name) -> absl::StatusOr<std::string> {
        if (name == "c.conf") return text;
        return ReadTestFile(fs::path(std::string(kFolder) + "files") /
                            fs::path(name).filename());
      });
}

// ---- Everything a Config holds, but for positions and the numbers of unnamed
// tables, as text.  The bindings fail to compile when a field is added.

std::string Show(const std::string& text) {
  return absl::StrCat("[", text, "]");
}

std::string Show(const TableRef& table) {
  if (table == nullptr) return "none";
  std::string out = absl::StrCat(
      table->name().rfind("<dynamic:", 0) == 0 ? "unnamed" : table->name(), "/",
      table->backend(), ":", table->path(), "/", int(table->kind()));
  if (!table->is_static()) return out;
  const TableContents& contents = *table->contents();
  for (size_t i = 0; i < contents.size(); ++i) {
    absl::StrAppend(&out, " [", absl::StrJoin(contents.Spellings(i), "|"), "=",
                    std::string(contents.at(i).second), "]");
  }
  return out;
}

std::string Show(const std::optional<Criterion>& criterion) {
  if (!criterion) return "none";
  const auto& [negated, regex, table] = *criterion;
  return absl::StrCat(negated, regex, Show(table));
}

std::string Show(const Config& config, const std::string& filter) {
  if (filter.rfind("<dynchain:", 0) != 0) return Show(filter);
  return absl::StrJoin(config.filters.at(filter).chain, ",");
}

std::string Show(const Config& config, const Listener& listener) {
  const auto& [position, socket, where, family, port, hostname, tag, mask_src,
               no_dsn, tls, tls_verify, pki, ca, ciphers, protocols, auth,
               auth_table, received_auth, hostnames, senders,
               senders_masquerade, filter, proxy, line_ends, xclient,
               no_extensions] = listener;
  return absl::StrJoin({absl::StrCat(socket),
                        Show(where),
                        absl::StrCat(int(family), " ", port),
                        Show(hostname),
                        Show(tag),
                        absl::StrCat(mask_src, no_dsn, int(tls)),
                        absl::StrCat(tls_verify),
                        absl::StrJoin(pki, ","),
                        Show(ca),
                        Show(ciphers),
                        Show(protocols),
                        absl::StrCat(int(auth)),
                        Show(auth_table),
                        absl::StrCat(received_auth),
                        Show(hostnames),
                        Show(senders),
                        absl::StrCat(senders_masquerade),
                        Show(config, filter),
                        absl::StrCat(int(proxy), int(line_ends)),
                        Show(xclient),
                        absl::StrJoin(no_extensions, ",")},
                       " ");
}

std::string Show(const Config& config, const Action& action) {
  const auto& [position, name, method, ttl, maildir_path, maildir_junk, alias,
               virtual_, userbase, user, wrapper, mda_command, lmtp,
               lmtp_rcpt_to, host, helo, helo_src, src, mail_from, backup,
               backup_mx, domain, auth, tls, pki, ca, ciphers, protocols, srs,
               filter, bounce_text, verp, report_text] = action;
  return absl::StrJoin({Show(name),
                        absl::StrCat(int(method)),
                        ttl ? absl::FormatDuration(*ttl) : "none",
                        Show(maildir_path),
                        absl::StrCat(maildir_junk),
                        Show(alias),
                        Show(virtual_),
                        Show(userbase),
                        Show(user),
                        Show(wrapper),
                        Show(mda_command),
                        Show(lmtp),
                        absl::StrCat(lmtp_rcpt_to),
                        Show(host),
                        Show(helo),
                        Show(helo_src),
                        Show(src),
                        Show(mail_from),
                        absl::StrCat(backup),
                        Show(backup_mx),
                        Show(domain),
                        Show(auth),
                        absl::StrCat(int(tls)),
                        Show(pki),
                        Show(ca),
                        Show(ciphers),
                        Show(protocols),
                        absl::StrCat(srs),
                        Show(config, filter),
                        Show(bounce_text),
                        absl::StrCat(verp),
                        absl::StrCat(report_text != nullptr)},
                       " ");
}

std::string Show(const Rule& rule) {
  const auto& [position, from, from_negated, from_table, for_, for_negated,
               for_table, tag, helo, auth, tls, mail_from, rcpt_to, reject,
               action] = rule;
  return absl::StrJoin(
      {absl::StrCat(int(from), from_negated), Show(from_table),
       absl::StrCat(int(for_), for_negated), Show(for_table), Show(tag),
       Show(helo), Show(auth), Show(tls), Show(mail_from), Show(rcpt_to),
       absl::StrCat(reject), Show(action)},
      " ");
}

std::string Show(const FilterCare& care) {
  return absl::StrCat(care.accept_on_failure, " ",
                      absl::FormatDuration(care.timeout));
}

std::string Show(const Filter& filter) {
  const auto& [position, name, kind, proc, chain, phase, proc_exec, milter,
               care] = filter;
  const auto& [phase_name, condition, criterion, decision, argument] = phase;
  return absl::StrJoin(
      {Show(name), absl::StrCat(int(kind)), Show(proc),
       absl::StrJoin(chain, ","), Show(phase_name), Show(condition),
       Show(criterion), Show(decision), Show(argument), absl::StrCat(proc_exec),
       Show(milter), Show(care)},
      " ");
}

std::string Show(const MtaLimits& limits) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t,
               family] = limits;
  std::string out = absl::StrCat(int(family));
  for (const uint32_t one :
       {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t}) {
    absl::StrAppend(&out, " ", one);
  }
  return out;
}

std::vector<std::string> Show(const Config& config) {
  const auto& [server_name, listeners, socket_listener, actions, rules, tables,
               queue_ttl, queue_compression, bounce_warn, max_message_size,
               smtp_limits, sub_addr_delim, mta_limits, mta_domain_limits,
               mta_max_deferred, mda_limits, scheduler_limits, admd, pkis, cas,
               smtp_ciphers, srs, processors, filters, wrappers, spool,
               queue_size, queue_min_free, queue_history, queue_history_size,
               hold_doubts, queue_encryption, queue_key, queue_previous_key] =
      config;
  std::vector<std::string> out;
  const auto add = [&out](const auto&... parts) {
    out.push_back(absl::StrCat(parts...));
  };
  add(server_name, Show(config, socket_listener));
  for (const Listener& one : listeners) add("listen ", Show(config, one));
  for (const auto& [name, one] : actions) add("action ", Show(config, one));
  for (const Rule& one : rules) add("match ", Show(one));
  for (const auto& [name, one] : tables) {
    if (name.rfind("<dynamic:", 0) != 0) add("table ", name, Show(one));
  }
  add("queue ", absl::FormatDuration(queue_ttl), queue_compression, Show(spool),
      queue_size, " ", queue_min_free, " ", queue_encryption, Show(queue_key),
      queue_previous_key.value_or("(none)"));
  add("history ", absl::FormatDuration(queue_history), queue_history_size,
      hold_doubts);
  for (const absl::Duration one : bounce_warn) {
    add("warn ", absl::FormatDuration(one));
  }
  {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = smtp_limits;
    for (const uint32_t one : {a, b, c, d, e, f, g, h, i, j, k, l, m, n}) {
      add("smtp ", one);
    }
  }
  add("smtp ", max_message_size, std::string(1, sub_addr_delim),
      Show(smtp_ciphers));
  add("mta ", Show(mta_limits), " ", mta_max_deferred);
  for (const auto& [name, one] : mta_domain_limits) add(name, Show(one));
  {
    const auto& [a, b, c, d, e, memory, files, timeout] = mda_limits;
    for (const uint32_t one : {a, b, c, d, e, files, timeout}) add("mda ", one);
    add("mda memory ", memory);
    const auto& [f, g, h, i] = scheduler_limits;
    for (const uint32_t one : {f, g, h, i}) add("scheduler ", one);
  }
  add("admd ", Show(admd));
  for (const auto& [name, one] : pkis) {
    const auto& [position, own, cert, key, dhe] = one;
    add("pki ", name, Show(own), Show(cert), Show(key), int(dhe));
  }
  for (const auto& [name, one] : cas) {
    const auto& [position, own, cert] = one;
    add("ca ", name, Show(own), Show(cert));
  }
  {
    const auto& [key, backup, ttl] = srs;
    add("srs ", Show(key), Show(backup), ttl);
  }
  for (const auto& [name, one] : processors) {
    const auto& [position, own, command, user, group, chroot, care, protocol] =
        one;
    add("proc ", name, Show(own), Show(command), Show(user), Show(group),
        Show(chroot), Show(care), Show(protocol));
  }
  for (const auto& [name, one] : filters) {
    if (name.rfind("<dynchain:", 0) != 0) add("filter ", Show(one));
  }
  for (const auto& [name, one] : wrappers) add("wrapper ", name, Show(one));
  return out;
}

// ----

void ExpectSameAgain(const std::string& text) {
  const ParseResult first = Parse(text);
  ASSERT_NE(first.config, nullptr)
      << text << absl::StrJoin(first.messages, "\n");
  const std::string printed = ConfigToText(*first.config);
  const ParseResult second = Parse(printed);
  ASSERT_NE(second.config, nullptr)
      << printed << absl::StrJoin(second.messages, "\n");
  EXPECT_EQ(Show(*first.config), Show(*second.config)) << printed;
  EXPECT_EQ(printed, ConfigToText(*second.config));
}

TEST(ConfigToText, EveryGoodConfigurationOfTheTestdata) {
  int count = 0;
  for (const auto& entry :
       fs::directory_iterator(std::string(kFolder) + "ok")) {
    if (entry.path().extension() != ".conf") continue;
    SCOPED_TRACE(entry.path().string());
    ExpectSameAgain(ReadTestFile(entry.path()).value());
    ++count;
  }
  EXPECT_GT(count, 60);
}

// What a room without secrets gets means the same but for them.
void ExpectSameWithoutSecrets(const std::string& text) {
  const ParseResult first = Parse(text);
  ASSERT_NE(first.config, nullptr);
  const auto none = [](const Table&) { return false; };
  const std::string hidden = ConfigToTextWithoutSecrets(*first.config, none);
  const ParseResult second = Parse(hidden);
  ASSERT_NE(second.config, nullptr)
      << hidden << absl::StrJoin(second.messages, "\n");
  EXPECT_EQ(second.config->listeners.size(), first.config->listeners.size());
  EXPECT_EQ(second.config->actions.size(), first.config->actions.size());
  EXPECT_EQ(second.config->rules.size(), first.config->rules.size());
  EXPECT_EQ(hidden, ConfigToTextWithoutSecrets(*second.config, none));
}

TEST(ConfigToTextWithoutSecrets, EveryGoodConfigurationOfTheTestdata) {
  for (const auto& entry :
       fs::directory_iterator(std::string(kFolder) + "ok")) {
    if (entry.path().extension() != ".conf") continue;
    SCOPED_TRACE(entry.path().string());
    ExpectSameWithoutSecrets(ReadTestFile(entry.path()).value());
  }
}

TEST(ConfigToTextWithoutSecrets, HoldsNone) {
  const ParseResult result = Parse(
      "srs key \"topsecret\"\n"
      "srs key backup \"topsecret\"\n"
      "table creds { \"alice\" = \"topsecret\" }\n"
      "table names { \"topsecret@example.org\" }\n"
      "table hosts { \"smtp://shown.example\" }\n"
      "action \"l\" maildir alias { \"a\" = \"topsecret\", \"postmaster\" = "
      "\"a\" }\n"
      "action \"r\" relay host <hosts>\n"
      "match from mail-from <names> for local action \"l\"\n"
      "match from any for any action \"r\"\n");
  ASSERT_NE(result.config, nullptr) << absl::StrJoin(result.messages, "\n");
  const std::string text = ConfigToTextWithoutSecrets(
      *result.config,
      [](const Table& table) { return table.name() == "hosts"; });
  EXPECT_EQ(text.find("topsecret"), std::string::npos) << text;
  EXPECT_NE(text.find("shown.example"), std::string::npos) << text;
}

TEST(ConfigToTextWithoutQueueKeys, HidesThemAlone) {
  const std::string key = "0123456789abcdef0123456789abcdef";
  const std::string old = "fedcba9876543210fedcba9876543210";
  const ParseResult result =
      Parse("queue encryption " + key + " previous " + old +
            "\nsrs key \"topsecret\"\nmatch reject\n");
  ASSERT_NE(result.config, nullptr) << absl::StrJoin(result.messages, "\n");
  const std::string all = ConfigToText(*result.config);
  EXPECT_THAT(all, testing::HasSubstr(key));
  EXPECT_THAT(all, testing::HasSubstr(old));
  const std::string hidden = ConfigToTextWithoutQueueKeys(*result.config);
  EXPECT_EQ(hidden.find(key), std::string::npos) << hidden;
  EXPECT_EQ(hidden.find(old), std::string::npos) << hidden;
  EXPECT_THAT(hidden, testing::HasSubstr("topsecret"));
  EXPECT_THAT(hidden, testing::HasSubstr("queue encryption \"stdin\" previous "
                                         "\"stdin\"\n"));
  EXPECT_EQ(ConfigToTextWithoutSecrets(*result.config,
                                       [](const Table&) { return false; })
                .find(key),
            std::string::npos);
}

// Rooms that make no reports have no use for the words of them.
TEST(ConfigToTextWithoutSecrets, HoldsNoWordsOfReports) {
  const ParseResult result = Parse(
      "action r relay bounce-text \"/report-words\"\n"
      "match from any for any action r\n");
  ASSERT_NE(result.config, nullptr) << absl::StrJoin(result.messages, "\n");
  EXPECT_NE(result.config->actions.at("r").report_text, nullptr);
  EXPECT_THAT(ConfigToText(*result.config),
              testing::HasSubstr("bounce-text \"/report-words\""));
  const std::string hidden = ConfigToTextWithoutSecrets(
      *result.config, [](const Table&) { return false; });
  EXPECT_EQ(hidden.find("words"), std::string::npos) << hidden;
}

TEST(ConfigToText, LooksLikeThis) {
  const ParseResult result = Parse(
      "net = \"192.0.2.0/24\"\ntable nets { $net, \"A B\" }\n"
      "action l mbox\nmatch from src <nets> for domain a.test "
      "!tag X action l\n");
  ASSERT_NE(result.config, nullptr);
  const std::string text = ConfigToText(*result.config);
  EXPECT_THAT(text, testing::HasSubstr(
                        "table \"nets\" { \"192.0.2.0/24\", \"A B\" }\n"));
  EXPECT_THAT(text, testing::HasSubstr("\nqueue ttl 4d\n"));
  EXPECT_THAT(
      text, testing::EndsWith("listen on socket\naction \"l\" mbox\n"
                              "match from src <\"nets\"> for domain "
                              "{ \"a.test\" } ! tag { \"X\" } action \"l\"\n"));
}

TEST(QuoteForConfig, WhatNeedsCare) {
  EXPECT_EQ(QuoteForConfig("a b"), "\"a b\"");
  EXPECT_EQ(QuoteForConfig(""), "\"\"");
  EXPECT_EQ(QuoteForConfig("a\"b"), "\"a\\\"b\"");
  EXPECT_EQ(QuoteForConfig("a\\b"), "\"a\\b\"");
  EXPECT_EQ(QuoteForConfig("a\\ b"), "\"a\\\\ b\"");
  EXPECT_EQ(QuoteForConfig("a\\b\\"), "a\\\\b\\\\");
}

// ---- Configurations made by chance

class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  std::string Make() {
    std::string out;
    const auto line = [&out](const std::string& text) {
      absl::StrAppend(&out, text, "\n");
    };
    for (const char* name : {"T1", "t2"}) {
      line(absl::StrCat("table ", name, " ", List()));
    }
    for (const char* name : {"M1", "m2"}) {
      line(absl::StrCat("table ", name, " ", Map()));
    }
    line(absl::StrCat("table m3 ", Aliases()));
    line("pki p1 cert \"/c\" key \"/k\"");
    line(absl::StrCat("pki p2 cert ", Text(), "x\" key ", Text(), "y\" dhe ",
                      Of({"none", "auto", "legacy"})));
    line(absl::StrCat("ca c1 cert ", Text(), "\""));
    line("srs key \"k\"");
    if (Chance()) line(absl::StrCat("srs key backup ", Text(), "\""));
    if (Chance()) line(absl::StrCat("srs ttl ", Count(1, 50), "d"));
    line("mda wrapper w1 \"x %{mda}\"");
    if (Chance()) line(absl::StrCat("queue ttl ", Delay()));
    if (Chance())
      line(absl::StrCat("queue min-free \"0.", Count(1, 99999), "%\""));
    if (Chance())
      line(
          absl::StrCat("queue history ", Delay(), " size ", Count(1, 99), "M"));
    if (Chance()) line("queue doubt hold");
    if (Chance()) line("queue compression");
    if (Chance()) {
      line(absl::StrCat("bounce warn-interval ", Delay(), ", ", Delay()));
    }
    if (Chance()) line(absl::StrCat("smtp limit max-errors ", Count(-9, 99)));
    if (Chance()) {
      line(absl::StrCat("mda limit max-command-memory ", Count(16, 99),
                        Of({"M", ".5M", "G"}), " command-timeout ",
                        Count(-9, 99)));
    }
    if (Chance()) {
      line(absl::StrCat("mta limit for domain \"D.test\" inet6 task-hiwat ",
                        Count(0, 9)));
      line(absl::StrCat("mta limit inet4 task-lowat ", Count(0, 9)));
    }
    line(absl::StrCat("proc pr1 \"/p\" user u",
                      Some({absl::StrCat("timeout ", Delay()),
                            "on-failure accept", "protocol \"0.6\""})));
    line("filter f1 proc pr1");
    line(absl::StrCat(
        "filter f4 milter ",
        Of({"\"/run/m\"", "\"inet:1@127.0.0.1\"", "\"inet6:2@::1\""}),
        Some({absl::StrCat("timeout ", Delay()), "on-failure accept"})));
    line(absl::StrCat("filter f2 phase rcpt-to match ", Not(),
                      Of({"fcrdns", "rdns", "auth", "src <T1>",
                          "helo regex <t2>", "rcpt-to { a, b }"}),
                      " ", Of({"junk", "bypass", "reject \"550 x\""})));
    line("filter f3 chain { f4, f1, f2 }");
    const int listeners = Count(0, 4);
    for (int i = 0; i < listeners; ++i) line(Listen());
    const int actions = Count(1, 5);
    for (int i = 0; i < actions; ++i) line(OneAction(i));
    const int rules = Count(1, 6);
    for (int i = 0; i < rules; ++i) line(OneRule(actions));
    return out;
  }

 private:
  int Count(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random_);
  }
  bool Chance() { return Count(0, 1) == 1; }
  std::string Of(const std::vector<std::string>& of) {
    return of[Count(0, static_cast<int>(of.size()) - 1)];
  }
  std::string Not() { return Count(0, 3) == 0 ? "! " : ""; }
  std::string Delay() {
    return absl::StrCat(Count(1, 100), Of({"s", "m", "h", "d"}));
  }
  // The beginning of a quoted text; it wants its end.
  std::string Text() {
    std::string out = "\"";
    const int length = Count(0, 6);
    for (int i = 0; i < length; ++i) {
      out += Of({"a", "Z", "\\\"", "\\ ", "\\x", "'", "#", "$", "{", " ", "%",
                 "\\\\a", "\xc3"});
    }
    return out;
  }
  std::string Element() { return absl::StrCat(Text(), Count(0, 9), "\""); }
  std::string List() {
    std::string out = absl::StrCat("{ ", Element());
    while (Chance()) absl::StrAppend(&out, ", ", Element());
    return out + " }";
  }
  std::string Map() {
    std::string out = absl::StrCat("{ ", Element(), " = ", Element());
    while (Chance()) absl::StrAppend(&out, ", ", Element(), " = ", Element());
    return out + " }";
  }
  std::string Aliases() {
    return absl::StrCat("{ ", Element(), " = ",
                        Of({"joe", "\"joe, jim@x.test\"", "\"|cat '%{dest}'\"",
                            "\"error:550 gone\\, away\""}),
                        " }");
  }
  std::string ListArgument() { return Of({"<T1>", "<t2>", "word", List()}); }
  std::string AliasArgument() { return Of({"<m3>", Aliases()}); }
  std::string MapArgument() { return Of({"<M1>", "<m2>", Map()}); }

  // Some of `all`, in any order.
  std::string Some(std::vector<std::string> all) {
    std::shuffle(all.begin(), all.end(), random_);
    all.resize(Count(0, static_cast<int>(all.size())));
    std::string out;
    for (const std::string& one : all) absl::StrAppend(&out, " ", one);
    return out;
  }

  std::string Listen() {
    const bool tls = Chance();
    std::string out = "listen on lo";
    if (tls) {
      absl::StrAppend(&out, " ",
                      Of({"tls", "tls-require", "tls-require verify", "smtps",
                          "smtps verify"}),
                      " pki p1", Of({"", " pki P2"}),
                      Some({"ca c1", "ciphers \"HIGH\"", "protocols secure",
                            Of({"auth", "auth-optional <M1>"})}));
    }
    return absl::StrCat(
        out, " mask-src",
        Some({Of({"inet4", "inet6"}), absl::StrCat("port ", Count(1, 65535)),
              "hostname h", absl::StrCat("hostnames ", MapArgument()),
              absl::StrCat("senders ", MapArgument(), Of({"", " masquerade"})),
              "no-dsn", "received-auth", Of({"proxy-v2", "proxy-v1"}),
              absl::StrCat("tag ", Element()),
              Of({"filter f3", "filter { f2, f1 }"}), "line-ends normalise",
              absl::StrCat("xclient ", ListArgument()),
              "no-extension size no-extension DSN"}));
  }

  std::string OneAction(int number) {
    std::string out = absl::StrCat("action a", number, " ");
    if (Chance()) {
      absl::StrAppend(
          &out,
          Of({"mbox", "maildir", absl::StrCat("maildir ", Element(), " junk"),
              "maildir junk", absl::StrCat("lmtp ", Element()),
              "lmtp x rcpt-to", absl::StrCat("mda ", Element()), "expand-only",
              "forward-only"}),
          Some({absl::StrCat(Of({"alias ", "virtual "}), AliasArgument()),
                absl::StrCat("userbase ", MapArgument())}));
      if (out.find(" lmtp") != std::string::npos) {
        absl::StrAppend(&out, Some({"user joe", "wrapper w1"}));
      }
    } else {
      absl::StrAppend(
          &out, "relay",
          Of({" backup", " backup mx mx1.test",
              absl::StrCat(" host ", ListArgument()),
              absl::StrCat(" domain ", MapArgument(), " auth ", MapArgument()),
              absl::StrCat(" host ", ListArgument(), " auth ", MapArgument()),
              ""}),
          Some({"helo h", absl::StrCat("helo-src ", MapArgument()),
                absl::StrCat("src ", ListArgument()), "mail-from \"@x\"",
                Of({"tls", "tls no-verify"}), "pki p1", "ca c1", "ciphers x",
                "protocols tlsv1.3", "srs",
                Of({"filter f1", "filter { f1 }"})}));
    }
    // Directly behind "maildir" our words would be its path.
    if (Chance()) {
      const bool relay = absl::StrContains(out, " relay");
      absl::StrAppend(
          &out, " ttl ", Delay(),
          Some({"bounce-text \"/report-words\"", relay ? "verp" : ""}));
    }
    return out;
  }

  std::string OneRule(int actions) {
    return absl::StrCat(
        "match",
        Some({absl::StrCat(
                  Not(), "from ",
                  Of({"local", "any", "socket",
                      absl::StrCat("src ", ListArgument()), "src regex <T1>",
                      "rdns", absl::StrCat("rdns ", ListArgument())})),
              absl::StrCat(Not(), "for ",
                           Of({"local", "any", "domain regex <t2>",
                               absl::StrCat("domain ", ListArgument())})),
              absl::StrCat(Not(), "tag ", ListArgument()),
              absl::StrCat(Not(), "helo regex ", ListArgument()),
              absl::StrCat(Not(), Of({"auth", "auth <T1>", "auth <M1>"})),
              absl::StrCat(Not(), "tls"),
              absl::StrCat(Not(), "mail-from ", MapArgument()),
              absl::StrCat(Not(), "rcpt-to regex ", ListArgument())}),
        " ",
        Chance() ? "reject" : absl::StrCat("action a", Count(0, actions - 1)));
  }

  std::mt19937 random_;
};

TEST(ConfigToText, AnyConfiguration) {
  for (uint32_t seed = 0; seed < 500 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    ExpectSameAgain(Maker(seed).Make());
  }
}

}  // namespace
}  // namespace holdfast
