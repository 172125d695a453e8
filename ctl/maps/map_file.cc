#include "ctl/maps/map_file.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

absl::Status SystemError(const std::string& path) {
  return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
}

absl::Status DbError(const std::string& path, int error) {
  return absl::UnavailableError(absl::StrCat(path, ": ", db_strerror(error)));
}

struct CloseDb {
  void operator()(DB* db) const { db->close(db, 0); }
};
using OwnedDb = std::unique_ptr<DB, CloseDb>;

// Errors are for us to say.
void Ignore(const DB_ENV*, const char*, const char*) {}

OwnedDb MakeDb() {
  DB* db = nullptr;
  if (db_create(&db, nullptr, 0) != 0) return nullptr;
  db->set_errcall(db, Ignore);
  return OwnedDb(db);
}

DBT WithNul(const std::string& text) {
  DBT thing = {};
  thing.data = const_cast<char*>(text.c_str());
  thing.size = static_cast<u_int32_t>(text.size() + 1);
  return thing;
}

absl::string_view WithoutNul(const DBT& thing) {
  absl::string_view text(static_cast<const char*>(thing.data), thing.size);
  if (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return text;
}

absl::Status Fill(const std::string& path, const MapEntries& entries,
                  bool btree) {
  OwnedDb db = MakeDb();
  if (db == nullptr) return DbError(path, ENOMEM);
  int error = db->open(db.get(), nullptr, path.c_str(), nullptr,
                       btree ? DB_BTREE : DB_HASH, DB_CREATE | DB_EXCL, 0600);
  for (auto it = entries.begin(); error == 0 && it != entries.end(); ++it) {
    DBT key = WithNul(it->first), value = WithNul(it->second);
    error = db->put(db.get(), nullptr, &key, &value, DB_NOOVERWRITE);
  }
  DB* const open = db.release();
  const int closed = open->close(open, 0);
  if (error == 0) error = closed;
  return error == 0 ? absl::OkStatus() : DbError(path, error);
}

// Owner, mode, and everything on the disk.
absl::Status Settle(const std::string& path, const MapFileOptions& options) {
  const int fd = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return SystemError(path);
  absl::Status status;
  if ((geteuid() == 0 && fchown(fd, options.owner, options.group) != 0) ||
      fchmod(fd, options.mode & 0777) != 0 || fsync(fd) != 0)
    status = SystemError(path);
  close(fd);
  return status;
}

absl::Status SyncFolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    const absl::Status status = SystemError(folder);
    if (fd >= 0) close(fd);
    return status;
  }
  close(fd);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteMapFile(const std::string& path, const MapEntries& entries,
                          const MapFileOptions& options) {
  // libdb opens by name: in a folder of its own nobody can give the name to
  // something else meanwhile.
  std::string folder = path + ".XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return SystemError(path);
  const std::string made = folder + "/map";
  absl::Status status = Fill(made, entries, options.btree);
  if (status.ok()) status = Settle(made, options);
  if (status.ok() && rename(made.c_str(), path.c_str()) != 0)
    status = SystemError(path);
  unlink(made.c_str());
  rmdir(folder.c_str());
  return status.ok() ? SyncFolderOf(path) : status;
}

absl::Status ReadMapFile(
    const std::string& path,
    const std::function<bool(absl::string_view, absl::string_view)>& say) {
  OwnedDb db = MakeDb();
  if (db == nullptr) return DbError(path, ENOMEM);
  int error = db->open(db.get(), nullptr, path.c_str(), nullptr, DB_UNKNOWN,
                       DB_RDONLY, 0);
  if (error != 0) return DbError(path, error);
  DBC* cursor = nullptr;
  error = db->cursor(db.get(), nullptr, &cursor, 0);
  if (error != 0) return DbError(path, error);
  DBT key = {}, value = {};
  while ((error = cursor->get(cursor, &key, &value, DB_NEXT)) == 0)
    if (!say(WithoutNul(key), WithoutNul(value))) break;
  cursor->close(cursor);
  return error == 0 || error == DB_NOTFOUND ? absl::OkStatus()
                                            : DbError(path, error);
}

}  // namespace holdfast
