#include "config/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr char kBase[] =
    "action \"l\" mbox\n"
    "match for local action \"l\"\n";

ParseResult ParseText(const std::string& text,
                      std::vector<std::string> definitions = {},
                      std::map<std::string, std::string> files = {}) {
  ParseOptions options;
  options.path = "c.conf";
  options.server_name = "mx.example.org";
  options.local_addresses = {"127.0.0.1", "::1"};
  options.definitions = std::move(definitions);
  files["c.conf"] = text;
  return ParseConfig(
      options, [&](const std::string& path) -> absl::StatusOr<std::string> {
        const auto found = files.find(path);
        if (found == files.end()) {
          return absl::NotFoundError("No such file or directory");
        }
        return found->second;
      });
}

std::shared_ptr<const Config> Good(
    const std::string& text, std::vector<std::string> definitions = {},
    std::map<std::string, std::string> files = {}) {
  ParseResult result = ParseText(absl::StrCat(kBase, text),
                                 std::move(definitions), std::move(files));
  EXPECT_THAT(result.messages, IsEmpty());
  EXPECT_NE(result.config, nullptr);
  return result.config ? result.config : std::make_shared<const Config>();
}

TEST(Parser, Defaults) {
  const auto config = Good("");
  EXPECT_EQ(config->queue_ttl, absl::Hours(96));
  EXPECT_THAT(config->bounce_warn, ElementsAre(absl::Hours(4)));
  EXPECT_EQ(config->max_message_size, 36700160u);
  EXPECT_EQ(config->admd, "mx.example.org");
  EXPECT_EQ(config->sub_addr_delim, '+');
  EXPECT_TRUE(config->listeners.empty());
  EXPECT_TRUE(config->socket_listener.socket);
  EXPECT_EQ(config->actions.at("l").userbase->name(), "<getpwnam>");
  ASSERT_EQ(config->rules.size(), 1u);
  EXPECT_EQ(config->rules[0].from, Rule::From::kLocal);
  EXPECT_EQ(config->rules[0].position.line, 2);
}

TEST(Parser, BuiltinTables) {
  const auto config = Good("");
  const auto keys = [&](const char* name) {
    std::vector<std::string> all;
    for (const auto& entry : config->tables.at(name)->entries()) {
      all.push_back(std::string(entry.first));
    }
    return all;
  };
  EXPECT_THAT(keys("<localnames>"),
              UnorderedElementsAre("localhost", "mx.example.org", "127.0.0.1",
                                   "[::1]"));
  EXPECT_THAT(keys("<localhost>"),
              UnorderedElementsAre("local", "127.0.0.1", "[::1]"));
  EXPECT_THAT(keys("<anyhost>"),
              UnorderedElementsAre("local", "0.0.0.0/0", "::/0"));
  // The short host name is no local name: part 1, section 10, quirk 12.
  EXPECT_THAT(keys("<anydestination>"), UnorderedElementsAre("*", "mx"));
  EXPECT_EQ(config->tables.at("<getpwnam>")->kind(), Table::Kind::kDynamic);
}

TEST(Parser, GlobalDirectives) {
  const auto config = Good(
      "queue ttl 2d\nbounce warn-interval 1h, 2h, 3h, 4h, 5h\n"
      "smtp max-message-size 1.5M\nsmtp limit max-rcpt 5 max-mails 6\n"
      "smtp sub-addr-delim \"-\"\nmta max-deferred 4\nadmd example.net\n"
      "queue compression\nmda limit max-session 1 task-release 2\n"
      "scheduler limit max-inflight 9 max-schedule 8\n");
  EXPECT_EQ(config->queue_ttl, absl::Hours(48));
  EXPECT_THAT(config->bounce_warn, ElementsAre(absl::Hours(1), absl::Hours(2),
                                               absl::Hours(3), absl::Hours(4)));
  EXPECT_EQ(config->max_message_size, 1572864u);
  EXPECT_EQ(config->smtp_limits.max_rcpt, 5u);
  EXPECT_EQ(config->smtp_limits.max_mails, 6u);
  EXPECT_EQ(config->sub_addr_delim, '-');
  EXPECT_EQ(config->mta_max_deferred, 4u);
  EXPECT_EQ(config->admd, "example.net");
  EXPECT_TRUE(config->queue_compression);
  EXPECT_EQ(config->mda_limits.max_session, 1u);
  EXPECT_EQ(config->mda_limits.task_release, 2u);
  EXPECT_EQ(config->scheduler_limits.max_inflight, 9u);
  EXPECT_EQ(config->scheduler_limits.max_schedule, 8u);
}

TEST(Parser, MtaLimits) {
  const auto config = Good(
      "mta limit max-conn-per-host 3 inet4\n"
      "mta limit for domain Slow.Test max-conn-per-route 1 inet6\n"
      "mta limit max-conn-per-host -1\n"
      "mta limit for domain ref.test reference session-mail-max 7\n");
  EXPECT_EQ(config->mta_limits.max_conn_per_host, UINT32_MAX);
  EXPECT_EQ(config->mta_limits.max_conn_per_route, 20u);
  EXPECT_EQ(config->mta_limits.family, MtaLimits::Family::kInet4);
  // Copied from the default as it was then.
  const MtaLimits& slow = config->LimitsFor("SLOW.test");
  EXPECT_EQ(slow.max_conn_per_host, 3u);
  EXPECT_EQ(slow.max_conn_per_route, 1u);
  EXPECT_EQ(slow.family, MtaLimits::Family::kInet6);
  const MtaLimits& reference = config->LimitsFor("ref.test");
  EXPECT_EQ(reference.max_conn_per_host, 10u);
  EXPECT_EQ(reference.max_conn_per_route, 5u);
  EXPECT_EQ(reference.conn_delay_route, 5u);
  EXPECT_EQ(reference.conn_delay_relay, 2u);
  EXPECT_EQ(reference.reconn_delay_route, 3u);
  EXPECT_EQ(reference.session_mail_max, 7u);
  EXPECT_EQ(reference.family, MtaLimits::Family::kInet4);
  EXPECT_EQ(&config->LimitsFor("other.test"), &config->mta_limits);
}

TEST(Parser, OurDirectives) {
  const auto config =
      Good("spool \"/srv/mail\"\nqueue size 1G\nqueue min-free 5%\n");
  EXPECT_EQ(config->spool, "/srv/mail");
  EXPECT_EQ(config->queue_size, uint64_t{1} << 30);
  EXPECT_DOUBLE_EQ(config->queue_min_free, 0.05);
  EXPECT_DOUBLE_EQ(Good("queue min-free \"0.5%\"\n")->queue_min_free, 0.005);
}

TEST(Parser, OurWordsStayNames) {
  const auto config = Good(
      "spool = \"spool\"\n"
      "table spool { size, min-free, reference }\n"
      "action $spool mbox\naction size mbox\naction reference mbox\n"
      "listen on lo tag spool\n"
      "match tag reference action size\nmatch for domain <spool> action spool\n"
      "mta limit for domain reference max-conn-per-host 1\n");
  EXPECT_EQ(config->spool, "");
  EXPECT_EQ(config->tables.at("spool")->entries().size(), 3u);
  EXPECT_EQ(config->actions.count("spool"), 1u);
  EXPECT_EQ(config->listeners[0].tag, "spool");
  EXPECT_EQ(config->rules[1].action, "size");
  EXPECT_EQ(config->LimitsFor("reference").max_conn_per_host, 1u);
}

TEST(Parser, Listeners) {
  const auto config = Good(
      "listen on lo port 2525 tag T hostname mx.test inet4 mask-src no-dsn\n"
      "listen on \"::1\" port submission\nlisten on 127.0.0.1 port amqp\n"
      "listen on socket mask-src tag S no-dsn\n",
      {}, {{"/etc/services", "# comment\namqp 5672/tcp\n"}});
  ASSERT_EQ(config->listeners.size(), 3u);
  const Listener& first = config->listeners[0];
  EXPECT_EQ(first.where, "lo");
  EXPECT_EQ(first.port, 2525);
  EXPECT_EQ(first.tag, "T");
  EXPECT_EQ(first.hostname, "mx.test");
  EXPECT_EQ(first.family, Listener::Family::kInet4);
  EXPECT_TRUE(first.mask_src);
  EXPECT_TRUE(first.no_dsn);
  EXPECT_EQ(first.position.line, 3);
  EXPECT_EQ(config->listeners[1].where, "::1");
  EXPECT_EQ(config->listeners[1].port, 587);
  EXPECT_EQ(config->listeners[2].port, 5672);
  EXPECT_TRUE(config->socket_listener.mask_src);
  EXPECT_TRUE(config->socket_listener.no_dsn);
  EXPECT_EQ(config->socket_listener.tag, "S");
}

TEST(Parser, RelayAction) {
  const auto config = Good(
      "action r relay host { \"smtp://a.test\", \"smtp+notls://b.test:2525\" }"
      " helo me.test src { 192.0.2.1 192.0.2.2 } mail-from \"@x.test\" ttl 2d\n"
      "action b relay backup mx mx1.test\naction c relay backup\n");
  const Action& relay = config->actions.at("r");
  EXPECT_EQ(relay.method, ActionMethod::kRelay);
  EXPECT_FALSE(relay.IsLocal());
  EXPECT_EQ(relay.host->Fetch(), "smtp+notls://b.test:2525");
  EXPECT_EQ(relay.host->Fetch(), "smtp://a.test");
  EXPECT_EQ(relay.src->entries().size(), 2u);
  EXPECT_EQ(relay.helo, "me.test");
  EXPECT_EQ(relay.mail_from, "@x.test");
  EXPECT_EQ(relay.ttl, absl::Hours(48));
  EXPECT_EQ(config->actions.at("b").backup_mx, "mx1.test");
  EXPECT_TRUE(config->actions.at("c").backup);
  EXPECT_EQ(config->actions.at("c").backup_mx, "");
}

TEST(Parser, LocalAction) {
  const auto config = Good(
      "table aliases file:/etc/aliases\n"
      "action a maildir \"~/Mail\" junk alias <aliases> user vmail"
      " userbase { joe = \"1:2:/home/joe\" } ttl 1h\n"
      "action b maildir virtual { \"@\" = joe }\n",
      {}, {{"/etc/aliases", "root: joe\n"}});
  const Action& a = config->actions.at("a");
  EXPECT_EQ(a.method, ActionMethod::kMaildir);
  EXPECT_EQ(a.maildir_path, "~/Mail");
  EXPECT_TRUE(a.maildir_junk);
  EXPECT_EQ(a.user, "vmail");
  EXPECT_EQ(a.ttl, absl::Hours(1));
  EXPECT_EQ(a.alias->path(), "/etc/aliases");
  EXPECT_THAT(a.alias->entries(), ElementsAre(Pair("root", "joe")));
  EXPECT_EQ(a.userbase->name(), "<dynamic:0>");
  EXPECT_EQ(config->actions.at("b").virtual_->name(), "<dynamic:1>");
}

TEST(Parser, Rules) {
  const auto config = Good(
      "match ! from any !for domain { a.test, b.test } tag regex \"^x\""
      " helo \"*.test\" auth joe mail-from \"@x\" rcpt-to regex \"^a\" ! tls"
      " reject\n"
      "match ! from auth joe for rcpt-to \"a@b\" action l\n"
      "match from rdns ! auth action l\n");
  ASSERT_EQ(config->rules.size(), 4u);
  const Rule& first = config->rules[1];
  EXPECT_TRUE(first.reject);
  EXPECT_EQ(first.from, Rule::From::kAny);
  EXPECT_TRUE(first.from_negated);
  EXPECT_EQ(first.for_, Rule::For::kDomain);
  EXPECT_TRUE(first.for_negated);
  EXPECT_EQ(first.for_table.table->entries().size(), 2u);
  EXPECT_TRUE(first.tag->regex);
  EXPECT_FALSE(first.helo->regex);
  EXPECT_TRUE(first.auth->table != nullptr);
  EXPECT_TRUE(first.tls->negated);
  EXPECT_TRUE(first.rcpt_to->regex);
  const Rule& second = config->rules[2];
  EXPECT_EQ(second.from, Rule::From::kAny);
  EXPECT_FALSE(second.from_negated);
  EXPECT_TRUE(second.auth->negated);
  EXPECT_EQ(second.for_, Rule::For::kAny);
  EXPECT_TRUE(second.rcpt_to.has_value());
  const Rule& third = config->rules[3];
  EXPECT_EQ(third.from, Rule::From::kRdns);
  EXPECT_EQ(third.from_table.table, nullptr);
  EXPECT_TRUE(third.auth->negated);
  EXPECT_EQ(third.auth->table, nullptr);
}

TEST(Parser, ListenersWithTls) {
  const auto config = Good(
      "pki P cert \"/p.crt\" key \"/p.key\" dhe auto\n"
      "pki q cert \"/q.crt\"\npki q key \"/q.key\"\nca C cert \"/c\"\n"
      "table creds { joe = x }\n"
      "listen on lo smtps verify pki p pki Q ca C auth <creds> "
      "ciphers HIGH protocols \"tlsv1.3\" received-auth\n"
      "listen on lo port 587 tls-require pki p auth-optional\n"
      "listen on lo port 26 smtps pki p\nlisten on lo tls pki p\n");
  EXPECT_EQ(config->pkis.at("p").dhe, Pki::Dhe::kAuto);
  EXPECT_EQ(config->pkis.at("q").cert, "/q.crt");
  EXPECT_EQ(config->pkis.at("q").key, "/q.key");
  EXPECT_EQ(config->cas.at("c").cert, "/c");
  ASSERT_EQ(config->listeners.size(), 4u);
  const Listener& first = config->listeners[0];
  EXPECT_EQ(first.tls, Listener::Tls::kSmtps);
  EXPECT_TRUE(first.tls_verify);
  EXPECT_EQ(first.port, 465);
  EXPECT_THAT(first.pki, ElementsAre("p", "q"));
  EXPECT_EQ(first.ca, "c");
  EXPECT_EQ(first.auth, Listener::Auth::kRequired);
  EXPECT_EQ(first.auth_table, config->tables.at("creds"));
  EXPECT_EQ(first.ciphers, "HIGH");
  EXPECT_EQ(first.protocols, "tlsv1.3");
  EXPECT_TRUE(first.received_auth);
  const Listener& second = config->listeners[1];
  EXPECT_EQ(second.tls, Listener::Tls::kRequired);
  EXPECT_FALSE(second.tls_verify);
  EXPECT_EQ(second.auth, Listener::Auth::kOptional);
  EXPECT_EQ(second.auth_table, nullptr);
  EXPECT_EQ(second.port, 587);
  EXPECT_EQ(config->listeners[2].port, 26);
  EXPECT_EQ(config->listeners[3].tls, Listener::Tls::kOffered);
  EXPECT_EQ(config->listeners[3].port, 25);
}

TEST(Parser, OptionsOfOurListeners) {
  const auto config = Good(
      "listen on lo proxy-v1 line-ends normalise xclient { 192.0.2.1 } "
      "no-extension chunking no-extension DSN\n"
      "listen on lo proxy-v2 hostnames { a = b } senders { a = b } "
      "masquerade\n");
  ASSERT_EQ(config->listeners.size(), 2u);
  const Listener& first = config->listeners[0];
  EXPECT_EQ(first.proxy, Listener::Proxy::kV1);
  EXPECT_EQ(first.line_ends, Listener::LineEnds::kNormalise);
  EXPECT_EQ(first.xclient->entries().size(), 1u);
  EXPECT_THAT(first.no_extensions, ElementsAre("CHUNKING", "DSN"));
  const Listener& second = config->listeners[1];
  EXPECT_EQ(second.proxy, Listener::Proxy::kV2);
  EXPECT_EQ(second.line_ends, Listener::LineEnds::kStrict);
  EXPECT_EQ(second.xclient, nullptr);
  EXPECT_EQ(second.hostnames->entries().size(), 1u);
  EXPECT_EQ(second.senders->entries().size(), 1u);
  EXPECT_TRUE(second.senders_masquerade);
}

TEST(Parser, SessionLimits) {
  const auto config = Good(
      "smtp limit max-sessions 1 max-sessions-per-source 2 "
      "max-sessions-per-network 3 max-connects-per-source 4 "
      "max-mails-per-source 5 max-errors 6 max-bad-rcpt 7 max-commands 8 "
      "max-auth-failures 9 command-timeout 10 data-timeout 11 "
      "min-data-rate 12 max-rcpt 13 max-mails 14\n");
  const SmtpLimits& l = config->smtp_limits;
  EXPECT_THAT(
      (std::vector<uint32_t>{
          l.max_sessions, l.max_sessions_per_source, l.max_sessions_per_network,
          l.max_connects_per_source, l.max_mails_per_source, l.max_errors,
          l.max_bad_rcpt, l.max_commands, l.max_auth_failures,
          l.command_timeout, l.data_timeout, l.min_data_rate, l.max_rcpt,
          l.max_mails}),
      ElementsAre(1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 10u, 11u, 12u, 13u, 14u));
}

TEST(Parser, LimitsOfCommands) {
  const auto config = Good(
      "mda limit max-command-memory 16.5M max-command-descriptors 17 "
      "command-timeout 8 max-session 9\n");
  const MdaLimits& l = config->mda_limits;
  EXPECT_EQ(l.max_command_memory, 33u << 19);
  EXPECT_EQ(l.max_command_descriptors, 17u);
  EXPECT_EQ(l.command_timeout, 8u);
  EXPECT_EQ(l.max_session, 9u);
  EXPECT_EQ(l.CommandTimeout(), absl::Seconds(8));
  const auto none = Good("mda limit max-command-memory 0 command-timeout 0\n");
  EXPECT_EQ(none->mda_limits.max_command_memory, 0u);
  EXPECT_EQ(none->mda_limits.CommandTimeout(), absl::InfiniteDuration());
  EXPECT_EQ(Good("mda limit command-timeout -1\n")->mda_limits.CommandTimeout(),
            absl::InfiniteDuration());
}

TEST(Parser, SrsAndLocalMethods) {
  const auto config = Good(
      "srs key one\nsrs key backup two\nsrs ttl 49h\n"
      "mda wrapper w \"nice %{mda}\"\n"
      "action r relay srs\naction e expand-only\naction f forward-only\n"
      "action m mda \"procmail -f -\" wrapper w user vmail\n");
  EXPECT_EQ(config->srs.key, "one");
  EXPECT_EQ(config->srs.backup_key, "two");
  EXPECT_EQ(config->srs.ttl_days, 2);
  EXPECT_TRUE(config->actions.at("r").srs);
  EXPECT_EQ(config->actions.at("e").method, ActionMethod::kExpandOnly);
  EXPECT_EQ(config->actions.at("f").method, ActionMethod::kForwardOnly);
  EXPECT_EQ(config->actions.at("m").mda_command, "procmail -f -");
  EXPECT_EQ(config->actions.at("m").wrapper, "w");
  EXPECT_EQ(config->wrappers.at("w"), "nice %{mda}");
}

TEST(Parser, Filters) {
  ParseOptions options;
  options.path = "c.conf";
  const ParseResult result =
      ParseConfig(options, [](const std::string&) -> std::string {
        return "proc p \"/p\" user u\nfilter a proc p\n"
               "filter b proc-exec \"/b\" group g chroot \"/x\"\n"
               "filter c phase mail-from match !mail-from regex \"@x\" "
               "reject \"550 no\"\n"
               "filter d chain { a, b }\n"
               "action r relay host \"smtps://l@h\" auth { l = \"u:p\" } tls "
               "no-verify filter { c }\n"
               "match reject\n";
      });
  ASSERT_NE(result.config, nullptr);
  const Config& config = *result.config;
  EXPECT_EQ(config.processors.at("p").user, "u");
  EXPECT_EQ(config.filters.at("a").proc, "p");
  EXPECT_TRUE(config.filters.at("b").proc_exec);
  EXPECT_EQ(config.processors.at("b").chroot, "/x");
  const PhaseFilter& phase = config.filters.at("c").phase;
  EXPECT_EQ(phase.phase, "mail-from");
  EXPECT_TRUE(phase.criterion.negated);
  EXPECT_TRUE(phase.criterion.regex);
  EXPECT_EQ(phase.decision, "reject");
  EXPECT_EQ(phase.argument, "550 no");
  EXPECT_THAT(config.filters.at("d").chain, ElementsAre("a", "b"));
  const Action& relay = config.actions.at("r");
  EXPECT_EQ(relay.tls, Action::Tls::kNoVerify);
  EXPECT_THAT(config.filters.at(relay.filter).chain, ElementsAre("c"));
}

ParseResult ParseLine(const std::string& line) {
  ParseOptions options;
  options.path = "c.conf";
  return ParseConfig(options, [&](const std::string&) -> std::string {
    return line + "\nmatch reject\n";
  });
}

TEST(Parser, KeysOfTheQueue) {
  const std::string one(32, 'a'), two = "0123456789abcdef0123456789abcdef";
  struct Case {
    std::string words, key;
    std::optional<std::string> previous;
  };
  const Case good[] = {
      {"", "", std::nullopt},
      {one, one, std::nullopt},
      {"\"" + one + "\"", one, std::nullopt},
      {"stdin", "stdin", std::nullopt},
      {"\"-\"", "-", std::nullopt},
      {"none", "none", std::nullopt},
      {one + " previous " + two, one, two},
      {"previous " + two, "", two},
      {"none previous " + two, "none", two},
      {"stdin previous stdin", "stdin", "stdin"},
      {"previous", "", ""},
  };
  for (const Case& c : good) {
    SCOPED_TRACE(c.words);
    const ParseResult result = ParseLine("queue encryption " + c.words);
    ASSERT_NE(result.config, nullptr) << absl::StrJoin(result.messages, "\n");
    EXPECT_TRUE(result.config->queue_encryption);
    EXPECT_EQ(result.config->queue_key, c.key);
    EXPECT_EQ(result.config->queue_previous_key, c.previous);
  }
  for (const std::string& bad :
       {one + "1", std::string("short"), one + " " + two,
        one + " previous none", one + " previous " + two + "2",
        one + " previous previous " + two}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(ParseLine("queue encryption " + bad).config, nullptr);
  }
}

TEST(Parser, FiltersOfOurs) {
  const auto config = Good(
      "proc p \"/p\" timeout 30s protocol \"0.6\"\n"
      "proc q \"/q\" user u on-failure accept\n"
      "filter a proc-exec \"/a\" on-failure tempfail\n"
      "filter m milter \"local:/run/m\" on-failure accept timeout 1h\n"
      "filter n milter \"inet:8891@localhost\"\n");
  const Processor& p = config->processors.at("p");
  EXPECT_EQ(p.care.timeout, absl::Seconds(30));
  EXPECT_FALSE(p.care.accept_on_failure);
  EXPECT_EQ(p.protocol, "0.6");
  const Processor& q = config->processors.at("q");
  EXPECT_EQ(q.care.timeout, absl::Minutes(2));
  EXPECT_TRUE(q.care.accept_on_failure);
  EXPECT_EQ(q.protocol, "0.7");
  EXPECT_FALSE(config->processors.at("a").care.accept_on_failure);
  const Filter& m = config->filters.at("m");
  EXPECT_EQ(m.kind, Filter::Kind::kMilter);
  EXPECT_EQ(m.milter, "unix:/run/m");
  EXPECT_TRUE(m.care.accept_on_failure);
  EXPECT_EQ(m.care.timeout, absl::Hours(1));
  EXPECT_EQ(config->filters.at("n").milter, "inet:8891@127.0.0.1");
  EXPECT_FALSE(config->filters.at("n").care.accept_on_failure);
}

// Who reads what parent has checked asks for no program again.
TEST(Parser, TablesOfPrograms) {
  const auto config = Good("table t sqlite:/etc/x\n");
  EXPECT_EQ(config->tables.at("t")->backend(), "sqlite");
  EXPECT_EQ(config->tables.at("t")->path(), "/etc/x");
  EXPECT_EQ(config->tables.at("t")->kind(), Table::Kind::kDynamic);
  EXPECT_EQ(ParseLine("table t \"../sh:/x\"").config, nullptr);
  EXPECT_EQ(ParseLine("table t \"\"").config, nullptr);
}

TEST(Parser, NamesStayWhole) {
  const std::string name(200, 'n');
  const auto config = Good(absl::StrCat(
      "action ", name, " mbox\nmatch for any ", "action ", name, "\n"));
  EXPECT_EQ(config->actions.count(name), 1u);
  EXPECT_EQ(config->rules.back().action, name);
}

TEST(Parser, AnAuthFilterKeepsItsPhase) {
  ParseOptions options;
  options.path = "c.conf";
  const ParseResult result =
      ParseConfig(options, [](const std::string&) -> std::string {
        return "filter f phase auth match auth { joe } reject \"550 no\"\n"
               "match reject\n";
      });
  ASSERT_NE(result.config, nullptr);
  EXPECT_EQ(result.config->filters.at("f").phase.phase, "auth");
}

TEST(Parser, DefinitionsWinOverMacros) {
  const auto config = Good("x = \"file\"\nadmd $x\n", {"x=command", "a=b=c"});
  EXPECT_EQ(config->admd, "command");
  // Split at the last '='.
  const ParseResult result =
      ParseText(absl::StrCat(kBase, "admd $a\n"), {"xyz", "a=b"});
  EXPECT_THAT(result.messages,
              ElementsAre("warn: could not parse macro definition xyz"));
  ASSERT_NE(result.config, nullptr);
  EXPECT_EQ(result.config->admd, "b");
}

TEST(Parser, TheFileItselfIsMissing) {
  ParseOptions options;
  options.path = "/etc/smtpd.conf";
  const ParseResult result = ParseConfig(options, [](const std::string&) {
    return absl::StatusOr<std::string>(
        absl::NotFoundError("No such file or directory"));
  });
  EXPECT_EQ(result.config, nullptr);
  EXPECT_THAT(
      result.messages,
      ElementsAre("pushfile: /etc/smtpd.conf: No such file or directory"));
}

TEST(Parser, AnEmptyTableFileFitsEveryUse) {
  const auto config = Good(
      "table d file:/d\nmatch for domain <d> action l\n"
      "action a mbox alias <d>\n",
      {}, {{"/d", ""}});
  EXPECT_TRUE(config->tables.at("d")->entries().empty());
}

// What is read for it would be told to every process.
TEST(Parser, PatternsOfLargeTablesAreWarnedOfWithoutReadingThem) {
  for (const int count : {1, 20000}) {
    std::string patterns = "(\n";
    for (int i = 1; i < count; ++i) {
      absl::StrAppend(&patterns, "^", i, std::string(60, 'x'), "$\n");
    }
    int reads = 0;
    ParseOptions options;
    options.path = "c.conf";
    const ParseResult result = ParseConfig(
        options,
        [&](const std::string& path) -> absl::StatusOr<std::string> {
          if (path != "c.conf") {
            ++reads;
            return patterns;
          }
          return std::string(
              "table p file:/p\nmatch mail-from regex <p> for any reject\n");
        },
        [&](const Table& table) {
          return ParseTableBytes("static", table.path(), patterns);
        });
    ASSERT_NE(result.config, nullptr);
    EXPECT_EQ(reads, count == 1 ? 1 : 0);
    ASSERT_EQ(result.warnings.size(), 1u);
    EXPECT_THAT(result.warnings[0],
                testing::StartsWith(count == 1 ? "/p:1: warning: pattern \"(\""
                                               : "c.conf:2: warning: pattern "
                                                 "\"(\""));
  }
}

TEST(Parser, PathsBelowTheSpool) {
  const SpoolPaths standard = PathsBelow("");
  EXPECT_EQ(standard.root, "/var/spool/smtpd");
  EXPECT_EQ(standard.control_socket, "/var/run/smtpd.sock");
  EXPECT_EQ(standard.pid_file, "/var/run/smtpd.pid");
  const SpoolPaths own = PathsBelow("/srv/mail/");
  EXPECT_EQ(own.root, "/srv/mail");
  EXPECT_EQ(own.offline, "/srv/mail/offline");
  EXPECT_EQ(own.control_socket, "/srv/mail/smtpd.sock");
}

}  // namespace
}  // namespace holdfast
