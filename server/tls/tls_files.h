// The files that `parent` has read for a room.
#ifndef HOLDFAST_SERVER_TLS_TLS_FILES_H_
#define HOLDFAST_SERVER_TLS_TLS_FILES_H_

#include <string>
#include <vector>

#include "server/door/parent_messages.h"

namespace holdfast {

// What is in the file `path`.  Empty if `parent` has not read it; then the
// parser of PEM complains.
inline std::string TlsFile(const std::vector<Start::File>& files,
                           const std::string& path) {
  for (const Start::File& file : files) {
    if (file.path == path) return file.contents;
  }
  return "";
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_FILES_H_
