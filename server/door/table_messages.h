// How the contents of tables reach the rooms.  smtpctl's question for an update
// is UpdateTable (lookup_messages.h).
#ifndef HOLDFAST_SERVER_DOOR_TABLE_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_TABLE_MESSAGES_H_

#include <cstdint>
#include <string>

namespace holdfast {

// parent -> room, with one descriptor: what is in the file of this table, in
// memory that nobody can change any more (server/tables/sealed_file.h).  Before
// Start for every table that the room may see, and whenever one was read again.
// `parent` has checked that it can be understood.
struct TableFile {
  static constexpr uint16_t kType = 13;
  std::string name;
  uint64_t question = 0;  // lookup: the UpdateTable that asked for it; or 0
  template <class A>
  void Fields(A& a) {
    a(name, question);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_TABLE_MESSAGES_H_
