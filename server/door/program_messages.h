// The programs of others that parent runs for rooms: filters (for `filters`)
// and table processes (for `lookup`), and sockets that it connects for them.
#ifndef HOLDFAST_SERVER_DOOR_PROGRAM_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_PROGRAM_MESSAGES_H_

#include <cstdint>
#include <string>

namespace holdfast {

// parent -> filters, lookup, with two descriptors: a program runs.  The first
// is its standard input and output, the second what it says on standard error.
// One that ended is started again, after growing delays.
struct ProgramStarted {
  static constexpr uint16_t kType = 50;
  std::string name;     // in Config::processors, or in Config::tables
  uint64_t number = 0;  // of this start
  template <class A>
  void Fields(A& a) {
    a(name, number);
  }
};
// parent -> filters, lookup: it has ended.
struct ProgramEnded {
  static constexpr uint16_t kType = 51;
  std::string name;
  uint64_t number = 0;
  std::string how;  // "exited abnormally", "terminated; signal 9"
  template <class A>
  void Fields(A& a) {
    a(name, number, how);
  }
};
// filters, lookup -> parent: it hangs or makes no sense; kill it.  ProgramEnded
// follows.
struct ProgramKill {
  static constexpr uint16_t kType = 52;
  std::string name;
  uint64_t number = 0;
  template <class A>
  void Fields(A& a) {
    a(name, number);
  }
};

// filters -> parent: connect to the socket of this milter, without blocking.
// The answer carries the connected descriptor, or an error in the words of the
// system.
struct MilterConnect {
  static constexpr uint16_t kType = 53;
  uint64_t question = 0;
  std::string filter;  // name in Config::filters
  template <class A>
  void Fields(A& a) {
    a(question, filter);
  }
};
struct MilterConnected {
  static constexpr uint16_t kType = 54;
  uint64_t question = 0;
  bool ok = false;
  std::string error;
  template <class A>
  void Fields(A& a) {
    a(question, ok, error);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_PROGRAM_MESSAGES_H_
