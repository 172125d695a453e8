// Used by ConfigToText() only: collects the lines.
#ifndef HOLDFAST_CONFIG_PRINTER_H_
#define HOLDFAST_CONFIG_PRINTER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"

namespace holdfast {

class ConfigPrinter {
 public:
  using Shown = std::function<bool(const Table&)>;

  // Null `shown`: everything.  Else what ConfigToTextWithoutSecrets() says.
  ConfigPrinter(const Config& config, Shown shown, bool queue_keys_shown,
                bool values_shown = true)
      : config_(config),
        shown_(std::move(shown)),
        queue_keys_shown_(queue_keys_shown),
        values_shown_(values_shown) {}

  std::string Run();

 private:
  // print.cc
  void Globals();
  void Queue();
  void QueueKey(const std::string& key);
  void Smtp();
  void MtaLine(absl::string_view domain, const MtaLimits& limits);
  void OtherLimits();
  void Keys();
  void Tables();
  // print_parts.cc
  void Filters();
  void Proc(const Filter& filter);
  void Phase(const Filter& filter);
  void Program(const Processor& processor);
  void Care(const FilterCare& care);
  void Care(const TableCare& care);
  void Milter(const Filter& filter);
  void Listen(const Listener& listener);
  void SocketListener();
  void ListenTls(const Listener& listener);
  void OneAction(const Action& action);
  void Local(const Action& action);
  void Relay(const Action& action);
  void OneRule(const Rule& rule);

  // Pieces of the present line, each with a blank in front.
  void Word(absl::string_view word);
  void Name(absl::string_view text);                            // in quotes
  void Option(absl::string_view word, absl::string_view text);  // if any
  void Flag(absl::string_view word, bool set);
  void Number(absl::string_view word, uint64_t number);
  void TableArgument(const TableRef& table);
  void TableOption(absl::string_view word, const TableRef& table);  // if any
  void CriterionArgument(const Criterion& criterion);
  void PlainCriterion(absl::string_view word,
                      const std::optional<Criterion>& criterion);
  void FilterReference(const std::string& name);
  void Negation(bool negated);
  void List(const std::vector<std::string>& names);
  void Begin(absl::string_view directive);
  void End();
  void Entries(const Table& table);
  // `secret`, or as many characters that say nothing.
  std::string Secret(const std::string& secret) const;

  const Config& config_;
  const Shown shown_;
  const bool queue_keys_shown_;
  const bool values_shown_;  // of maps
  std::string out_;
};

// "4d": in the largest unit that holds it.
std::string DelayText(absl::Duration delay);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_PRINTER_H_
