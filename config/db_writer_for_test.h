// Writes Berkeley DB files with libdb, for tests of what reads them.
#ifndef HOLDFAST_CONFIG_DB_WRITER_FOR_TEST_H_
#define HOLDFAST_CONFIG_DB_WRITER_FOR_TEST_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace holdfast {

struct DbWriterOptions {
  uint32_t page_size = 0;  // 0: libdb's choice
  bool nul = true;         // keys and values end in one, as makemap's do
  bool checksum = false;
  bool big_endian = false;
  bool btree = false;
  bool duplicates = false;
};

// Makes `path` anew; keys are stored as they are.  Ends the process if libdb
// fails.
void WriteDbFile(const std::string& path,
                 const std::vector<std::pair<std::string, std::string>>& all,
                 const DbWriterOptions& options = {});
// The same as the bytes of a file.
std::string DbBytes(
    const std::vector<std::pair<std::string, std::string>>& all);
// Removes these keys from such a file.
void RemoveFromDbFile(const std::string& path,
                      const std::vector<std::string>& keys);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_DB_WRITER_FOR_TEST_H_
