// What other rooms ask `lookup` about tables that only it can ask.
#ifndef HOLDFAST_SERVER_DOOR_TABLE_QUESTION_H_
#define HOLDFAST_SERVER_DOOR_TABLE_QUESTION_H_

#include <cstdint>
#include <string>

#include "config/table_contents.h"

namespace holdfast {

// queue, relay, filters, parent -> lookup: what does this table say?  For
// tables of programs, and of `filters` for those in files, that the
// configuration gives the asker reason to ask
// (server/lookup/table_questions.h). Answered by TableAnswer.
struct TableQuestion {
  static constexpr uint16_t kType = 36;
  enum class Op : uint8_t { kCheck = 1, kLookup = 2, kFetch = 3 };
  uint64_t question = 0;
  std::string table;
  Op op = Op::kCheck;
  TableService service = TableService::kString;
  std::string key;  // not for kFetch
  template <class A>
  void Fields(A& a) {
    a(question, table, op, service, key);
  }
};
struct TableAnswer {
  static constexpr uint16_t kType = 37;
  enum class Result : uint8_t {
    kFound = 1,
    kNotFound = 2,
    kError = 3,
    kNotOffered = 4,  // to filters only: the program has no such service
  };
  uint64_t question = 0;
  Result result = Result::kError;
  std::string value;  // of kLookup and kFetch
  template <class A>
  void Fields(A& a) {
    a(question, result, value);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_TABLE_QUESTION_H_
