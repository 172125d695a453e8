// What an smtpd.conf means: typed, checked, defaults filled in, immutable.
//
// Made by ParseConfig() (config/parser.h) from text; nothing here opens a file
// or asks the system.  Names and defaults are smtpd.conf(5)'s (reference part
// 1, section 1) except where a comment says that they are ours.
#ifndef HOLDFAST_CONFIG_CONFIG_H_
#define HOLDFAST_CONFIG_CONFIG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/table.h"

namespace holdfast {

class ReportText;

struct SourcePosition {
  std::string file;
  int line = 0;
};

// `listen on ...`, one for each address after interfaces and names were
// resolved by the parent (WHERE stays as written until then).
struct Listener {
  enum class Tls : uint8_t { kNone, kOffered, kRequired, kSmtps };
  enum class Auth : uint8_t { kNone, kOptional, kRequired };
  enum class Proxy : uint8_t { kNone, kV1, kV2 };
  // Ours: what a bare CR, LF or NUL inside a message means.  kStrict: the
  // message is refused; kNormalise, for senders that are local or
  // authenticated: a bare LF is stored as a line end and still ends nothing.
  enum class LineEnds : uint8_t { kStrict, kNormalise };

  SourcePosition position;
  bool socket = false;  // `listen on socket`: local submission
  std::string where;    // interface, address or host name, as written
  enum class Family : uint8_t { kAny, kInet4, kInet6 } family = Family::kAny;
  uint16_t port = 25;
  std::string hostname;  // empty: the server name
  std::string tag;
  bool mask_src = false;
  bool no_dsn = false;

  Tls tls = Tls::kNone;
  bool tls_verify = false;       // `tls-require verify`, `smtps verify`
  std::vector<std::string> pki;  // names of Config::pkis; the first is default
  std::string ca;                // name in Config::cas; empty: the system's
  std::string ciphers;           // empty: Config::smtp_ciphers
  std::string protocols;         // empty: TLS 1.2 and 1.3
  Auth auth = Auth::kNone;
  TableRef auth_table;  // credentials; null: system accounts
  bool received_auth = false;
  TableRef hostnames;  // null: none
  TableRef senders;    // null: none
  bool senders_masquerade = false;
  std::string filter;  // name in Config::filters; empty: none
  Proxy proxy = Proxy::kNone;
  // Ours.
  LineEnds line_ends = LineEnds::kStrict;
  TableRef xclient;  // peers (netaddr) that may say XCLIENT and XFORWARD
  // Extensions that are not offered here, as EHLO would name them
  // ("CHUNKING", "SMTPUTF8", ...): `no-extension NAME`.
  std::set<std::string> no_extensions;
};

// `pki NAME cert FILE key FILE`; the files are opened by parent.
struct Pki {
  SourcePosition position;
  std::string name;  // lower case
  std::string cert;  // paths
  std::string key;
  enum class Dhe : uint8_t { kNone, kAuto, kLegacy } dhe = Dhe::kNone;
};

// `ca NAME cert FILE`
struct Ca {
  SourcePosition position;
  std::string name;  // lower case, or "*"
  std::string cert;  // path
};

// `srs ...`
struct Srs {
  std::string key;         // empty: no SRS
  std::string backup_key;  // empty: none
  int ttl_days = 4;
};

// Ours: `[on-failure accept|tempfail] [timeout TIME]` of `proc`, `proc-exec`
// and `milter`.
struct FilterCare {
  // What becomes of sessions when the filter is not there, hangs or makes no
  // sense: they go on without it, or are refused for now.
  bool accept_on_failure = false;
  // How long it may think about one question, or about the end of a message.
  absl::Duration timeout = absl::Minutes(2);
};

// `proc`, and the program of a `filter ... proc-exec`.
struct Processor {
  SourcePosition position;
  std::string name;
  std::string command;
  std::string user, group, chroot;
  // Ours.
  FilterCare care;
  // `protocol VERSION`, as filters are told: "0.5", "0.6", "0.7".
  std::string protocol = "0.7";
};

// A criterion that compares with a table, or with nothing (`from any`).
struct Criterion {
  bool negated = false;
  bool regex = false;
  TableRef table;
};

// `filter NAME phase PHASE match [!]CONDITION DECISION`, in the words of the
// manual.
struct PhaseFilter {
  std::string phase;      // "connect" ... "commit"
  std::string condition;  // "fcrdns", "rdns", "src", "helo", "auth",
                          // "mail-from", "rcpt-to"
  Criterion criterion;    // null table: there is one at all
  std::string decision;   // "reject", "disconnect", "rewrite", "junk",
                          // "bypass", "report"
  std::string argument;   // of reject, disconnect, rewrite, report
};

// `filter NAME ...`
struct Filter {
  SourcePosition position;
  std::string name;  // "<dynchain:...>": a chain written where it is used
  enum class Kind : uint8_t {
    kProc,
    kPhase,
    kChain,
    kMilter,  // ours
  } kind = Kind::kProc;
  std::string proc;                // kProc: name in Config::processors
  std::vector<std::string> chain;  // kChain
  PhaseFilter phase;               // kPhase
  bool proc_exec = false;          // kProc: the processor was written here
  // kMilter: "unix:/path", "inet:PORT@ADDRESS", "inet6:PORT@ADDRESS".
  std::string milter;
  FilterCare care;  // kMilter
};

enum class ActionMethod : uint8_t {
  kMbox,
  kMaildir,
  kRelay,
  kLmtp,
  kMda,
  kExpandOnly,   // only what aliases and .forward name, on this host too
  kForwardOnly,  // only addresses elsewhere
};

// `action NAME METHOD ...`
struct Action {
  SourcePosition position;
  std::string name;
  ActionMethod method = ActionMethod::kMbox;
  std::optional<absl::Duration> ttl;  // unset: queue ttl

  // Local methods.
  std::string maildir_path;  // as written, may hold format specifiers; empty:
                             // $HOME/Maildir
  bool maildir_junk = false;
  TableRef alias;           // null: none
  TableRef virtual_;        // null: none
  TableRef userbase;        // null: <getpwnam>
  std::string user;         // deliver as; empty: the recipient
  std::string wrapper;      // name in Config::wrappers; empty: none
  std::string mda_command;  // kMda
  std::string lmtp;         // kLmtp: where to
  bool lmtp_rcpt_to = false;

  // relay.
  TableRef host;          // relay URLs, used in turn; null: MX lookup
  std::string helo;       // empty: the server name
  TableRef helo_src;      // name for EHLO by source address
  TableRef src;           // source addresses, used in turn; null: unspecified
  std::string mail_from;  // replaces parts of the sender
  bool backup = false;
  std::string backup_mx;  // empty: the listener's server name
  TableRef domain;        // destination domain -> relay URL; null: none
  TableRef auth;          // credentials by label; null: none
  enum class Tls : uint8_t { kOpportunistic, kRequired, kNoVerify };
  Tls tls = Tls::kOpportunistic;
  std::string pki, ca, ciphers, protocols;  // empty: none, the defaults
  bool srs = false;
  std::string filter;

  // Ours, of all methods.
  std::string bounce_text;  // `bounce-text FILE`: path of a template with the
                            // words of reports; empty: the reference's words
  bool verp = false;  // `verp`: a sender of its own for each recipient; relay
  // What is in that file; null where nobody makes reports.
  std::shared_ptr<const ReportText> report_text;

  bool IsLocal() const { return method != ActionMethod::kRelay; }
};

// `match ... (action NAME | reject)`
struct Rule {
  SourcePosition position;

  enum class From : uint8_t { kLocal, kAny, kSocket, kSrc, kRdns };
  From from = From::kLocal;
  bool from_negated = false;
  Criterion from_table;  // kSrc, kRdns (null table: a name exists)

  enum class For : uint8_t { kLocal, kAny, kDomain };
  For for_ = For::kLocal;
  bool for_negated = false;
  Criterion for_table;  // kDomain

  std::optional<Criterion> tag;
  std::optional<Criterion> helo;
  std::optional<Criterion> auth;  // null table: any user
  std::optional<Criterion> tls;
  std::optional<Criterion> mail_from;
  std::optional<Criterion> rcpt_to;

  bool reject = false;
  std::string action;  // empty when reject
};

// `mta limit [for domain D] KEY N`.  Times in seconds.
struct MtaLimits {
  uint32_t max_conn_per_host = 20;   // reference: 10
  uint32_t max_conn_per_route = 20;  // reference: 5
  uint32_t max_conn_per_source = 100;
  uint32_t max_conn_per_connector = 20;
  uint32_t max_conn_per_relay = 100;
  uint32_t max_conn_per_domain = 100;
  uint32_t conn_delay_host = 0;
  uint32_t conn_delay_route = 0;  // reference: 5
  uint32_t conn_delay_source = 0;
  uint32_t conn_delay_connector = 0;
  uint32_t conn_delay_relay = 0;  // reference: 2
  uint32_t conn_delay_domain = 0;
  uint32_t reconn_delay_route = 0;   // reference: 3
  uint32_t session_mail_max = 1000;  // reference: 100
  uint32_t session_transaction_delay = 0;
  uint32_t session_keepalive = 10;
  uint32_t max_failures_per_session = 25;
  uint32_t task_hiwat = 50;
  uint32_t task_lowat = 30;
  uint32_t task_release = 10;
  enum class Family : uint8_t { kAny, kInet4, kInet6 } family = Family::kAny;

  // `mta limit reference`: what OpenSMTPD has by default.
  static MtaLimits Reference();
};

// `mda limit KEY N`.  The last three are ours, for each command that is run as
// a user; 0: no limit.
struct MdaLimits {
  uint32_t max_session = 50;
  uint32_t max_session_per_user = 7;
  uint32_t task_hiwat = 50;
  uint32_t task_lowat = 30;
  uint32_t task_release = 10;
  uint64_t max_command_memory = 1 << 30;    // octets, of each process of it
  uint32_t max_command_descriptors = 1024;  // of each process of it
  uint32_t command_timeout = 300;           // seconds

  // Infinite, if it has none.
  absl::Duration CommandTimeout() const;
};

struct SchedulerLimits {
  uint32_t max_inflight = 5000;
  uint32_t max_evp_batch_size = 256;
  uint32_t max_msg_batch_size = 1024;
  uint32_t max_schedule = 10;
};

// `smtp limit KEY N`.  The first two are the reference's; the others ours.  0:
// no limit.  "By source": for an IPv4 address or an IPv6 /64; "by network": an
// IPv4 /24, an IPv6 /48; counted over all `receive`.  Loopback and the local
// socket are not counted by source.
struct SmtpLimits {
  uint32_t max_rcpt = 1000;                // of a message
  uint32_t max_mails = 100;                // of a session
  uint32_t max_sessions = 10000;           // at once, of each `receive`
  uint32_t max_sessions_per_source = 100;  // at once
  uint32_t max_sessions_per_network = 400;
  uint32_t max_connects_per_source = 600;  // a minute
  uint32_t max_mails_per_source = 0;       // a minute
  uint32_t max_errors = 20;  // replies of class 5 in a session, but for those
                             // to RCPT
  uint32_t max_bad_rcpt = 100;  // refused recipients in a session
  uint32_t max_commands = 0;    // commands in a session without a message
  uint32_t max_auth_failures = 3;
  uint32_t command_timeout = 300;  // seconds; RFC 5321 section 4.5.3.2.7
  uint32_t data_timeout = 180;     // seconds between two reads of a message
  uint32_t min_data_rate = 1000;   // octets a second, after ten minutes
};

// Keys of `queue encryption`.
inline constexpr size_t kQueueKeyBytes = 32;
inline constexpr char kNoQueueKey[] = "none";
// It is not in the configuration: smtpd asks for it when it starts.
inline bool IsAskedQueueKey(absl::string_view key) {
  return key.empty() || key == "stdin" || key == "-";
}

struct Config {
  std::string server_name;  // given to the parser: mailname or host name

  std::vector<Listener> listeners;  // without the implicit socket listener
  Listener socket_listener;         // always there
  std::map<std::string, Action> actions;
  std::vector<Rule> rules;
  std::map<std::string, std::shared_ptr<Table>> tables;

  absl::Duration queue_ttl = absl::Hours(96);
  bool queue_compression = false;  // accepted; it is always on
  std::vector<absl::Duration> bounce_warn = {absl::Hours(4)};
  uint64_t max_message_size = 36700160;
  SmtpLimits smtp_limits;
  char sub_addr_delim = '+';
  MtaLimits mta_limits;
  std::map<std::string, MtaLimits> mta_domain_limits;  // `for domain`
  uint32_t mta_max_deferred = 100;
  MdaLimits mda_limits;
  SchedulerLimits scheduler_limits;
  std::string admd;  // empty: the server name
  std::map<std::string, Pki> pkis;
  std::map<std::string, Ca> cas;
  std::string smtp_ciphers;  // empty: the library's
  Srs srs;
  std::map<std::string, Processor> processors;
  std::map<std::string, Filter> filters;
  std::map<std::string, std::string> wrappers;  // `mda wrapper`

  // Ours.
  std::string spool;  // `spool "/path"`; empty: the system's places
  uint64_t queue_size = 16ull << 30;  // `queue size 16G`: bound of the store
  double queue_min_free = 0.05;       // `queue min-free 5%`: of the file system
  // `queue history 2d size 2G`: attempts are kept so long after the envelope
  // has ended.  Zero: not at all.
  absl::Duration queue_history = absl::ZeroDuration();
  uint64_t queue_history_size = 1ull << 30;
  // `queue doubt hold|retry`: what becomes of attempts in doubt after a crash.
  bool hold_doubts = false;

  // `queue encryption [KEY|none] [previous [KEY]]`.  An empty key, "stdin" and
  // "-" are asked for when smtpd starts.  "none": nothing is sealed any more.
  bool queue_encryption = false;
  std::string queue_key;
  // What the queue was sealed with before.
  std::optional<std::string> queue_previous_key;

  // The limits for a relay whose domain (or smarthost name) is `domain`.
  const MtaLimits& LimitsFor(absl::string_view domain) const;
};

// Where things are, from `spool`.  With an empty spool: /var/spool/smtpd,
// /var/run/smtpd.sock, /var/run/smtpd.pid.  With spool "/x" all below /x.
struct SpoolPaths {
  std::string root;            // 0711
  std::string store;           // the queue's database; 0700 _smtpq
  std::string offline;         // 1733 root:_smtpq
  std::string control_socket;  // smtpctl; 0666
  std::string enqueue_socket;  // sendmail; 0666
  std::string pid_file;
};
SpoolPaths PathsBelow(absl::string_view spool);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_CONFIG_H_
