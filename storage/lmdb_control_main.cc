// lmdb-control: commits numbers into an LMDB environment and says after each
// commit that it is done.  The control of the power-cut test: with
// --no-meta-sync its promise is false, and a test that doesn't find that out
// finds nothing out.
//
//   lmdb-control [--no-meta-sync] FOLDER SERIAL-DEVICE COUNT
//   lmdb-control --check FOLDER     prints the number of the last commit
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

namespace {

constexpr size_t kMapSize = 64 << 20;
constexpr size_t kBlock = 4096;
constexpr size_t kValueSize = 2000;

int Fail(const char* what, int error) {
  fprintf(stderr, "lmdb-control: %s: %s\n", what, mdb_strerror(error));
  return 1;
}

// Opens the environment and its one table inside a transaction.
int Begin(MDB_env* env, unsigned flags, MDB_txn** txn, MDB_dbi* dbi) {
  int error = mdb_txn_begin(env, nullptr, flags, txn);
  if (error != 0) return error;
  return mdb_dbi_open(*txn, nullptr, MDB_INTEGERKEY, dbi);
}

int CommitOne(MDB_env* env, uint32_t number) {
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  int error = Begin(env, 0, &txn, &dbi);
  if (error != 0) return error;
  std::string text(kValueSize, static_cast<char>('a' + number % 26));
  MDB_val key{sizeof(number), &number};
  MDB_val value{text.size(), text.data()};
  error = mdb_put(txn, dbi, &key, &value, 0);
  if (error == 0) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return error;
}

int CommitAll(MDB_env* env, const char* device, uint32_t count) {
  const int fd = open(device, O_WRONLY | O_DIRECT | O_CLOEXEC);
  void* block = nullptr;
  if (fd < 0 || posix_memalign(&block, kBlock, kBlock) != 0) {
    perror(device);
    return 1;
  }
  for (uint32_t number = 1; number <= count; ++number) {
    const int error = CommitOne(env, number);
    if (error != 0) return Fail("commit", error);
    memset(block, 0, kBlock);
    snprintf(static_cast<char*>(block), kBlock, "%u\n", number);
    if (pwrite(fd, block, kBlock, 0) != static_cast<ssize_t>(kBlock)) {
      perror(device);
      return 1;
    }
  }
  close(fd);
  free(block);
  return 0;
}

// All numbers from 1 on must be there, each with its text.
int Check(MDB_env* env) {
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  int error = Begin(env, MDB_RDONLY, &txn, &dbi);
  if (error != 0) return Fail("read", error);
  uint32_t number = 1;
  for (;; ++number) {
    MDB_val key{sizeof(number), &number};
    MDB_val value{};
    error = mdb_get(txn, dbi, &key, &value);
    if (error != 0) break;
    const std::string text(kValueSize, static_cast<char>('a' + number % 26));
    if (value.mv_size != text.size() ||
        memcmp(value.mv_data, text.data(), text.size()) != 0) {
      fprintf(stderr, "lmdb-control: %u is damaged\n", number);
      return 1;
    }
  }
  mdb_txn_abort(txn);
  if (error != MDB_NOTFOUND) return Fail("read", error);
  printf("%u\n", number - 1);
  return 0;
}

int Open(const char* folder, unsigned flags, MDB_env** env) {
  int error = mdb_env_create(env);
  if (error == 0) error = mdb_env_set_mapsize(*env, kMapSize);
  if (error == 0) error = mdb_env_open(*env, folder, flags, 0600);
  return error;
}

int Run(int argc, char** argv) {
  const bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
  const bool unsafe = argc == 5 && strcmp(argv[1], "--no-meta-sync") == 0;
  if (!check && !unsafe && argc != 4) {
    fprintf(stderr,
            "usage: lmdb-control [--no-meta-sync] FOLDER SERIAL-DEVICE COUNT\n"
            "       lmdb-control --check FOLDER\n");
    return 2;
  }
  const char* const* words = argv + (check || unsafe ? 2 : 1);
  MDB_env* env = nullptr;
  const int error = Open(words[0],
                         check    ? MDB_RDONLY | MDB_NOLOCK
                         : unsafe ? MDB_NOMETASYNC
                                  : 0,
                         &env);
  if (error != 0) return Fail(words[0], error);
  const int status =
      check ? Check(env)
            : CommitAll(env, words[1], strtoul(words[2], nullptr, 10));
  // Not closed: that would sync what the test wants unsynced.
  return status;
}

}  // namespace

int main(int argc, char** argv) { return Run(argc, argv); }
