#include "config/db_writer_for_test.h"

#include <db.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace holdfast {
namespace {

void Must(int result, const char* what) {
  if (result == 0) return;
  fprintf(stderr, "%s: %s\n", what, db_strerror(result));
  abort();
}

DBT Thing(const std::string& text, bool nul) {
  DBT thing = {};
  thing.data = const_cast<char*>(text.c_str());
  thing.size = static_cast<u_int32_t>(text.size() + (nul ? 1 : 0));
  return thing;
}

}  // namespace

void WriteDbFile(const std::string& path,
                 const std::vector<std::pair<std::string, std::string>>& all,
                 const DbWriterOptions& options) {
  unlink(path.c_str());
  DB* db = nullptr;
  Must(db_create(&db, nullptr, 0), "db_create");
  if (options.page_size != 0)
    Must(db->set_pagesize(db, options.page_size), "set_pagesize");
  if (options.big_endian) Must(db->set_lorder(db, 4321), "set_lorder");
  u_int32_t flags = 0;
  if (options.checksum) flags |= DB_CHKSUM;
  if (options.duplicates) flags |= DB_DUP;
  if (flags != 0) Must(db->set_flags(db, flags), "set_flags");
  Must(db->open(db, nullptr, path.c_str(), nullptr,
                options.btree ? DB_BTREE : DB_HASH, DB_CREATE, 0644),
       "open");
  for (const auto& [key, value] : all) {
    DBT k = Thing(key, options.nul);
    DBT v = Thing(value, options.nul);
    Must(db->put(db, nullptr, &k, &v, 0), "put");
  }
  Must(db->close(db, 0), "close");
}

std::string DbBytes(
    const std::vector<std::pair<std::string, std::string>>& all) {
  char path[] = "/tmp/db_writer.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) abort();
  close(fd);
  WriteDbFile(path, all);
  std::string bytes;
  FILE* file = fopen(path, "rb");
  char buffer[65536];
  size_t n;
  while (file != nullptr && (n = fread(buffer, 1, sizeof buffer, file)) > 0)
    bytes.append(buffer, n);
  fclose(file);
  unlink(path);
  return bytes;
}

void RemoveFromDbFile(const std::string& path,
                      const std::vector<std::string>& keys) {
  DB* db = nullptr;
  Must(db_create(&db, nullptr, 0), "db_create");
  Must(db->open(db, nullptr, path.c_str(), nullptr, DB_HASH, 0, 0644), "open");
  for (const std::string& key : keys) {
    DBT k = Thing(key, true);
    Must(db->del(db, nullptr, &k, 0), "del");
  }
  Must(db->close(db, 0), "close");
}

}  // namespace holdfast
