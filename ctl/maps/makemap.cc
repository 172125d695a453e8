#include "ctl/maps/makemap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "config/table.h"
#include "ctl/control/short_options.h"
#include "ctl/control/whole_io.h"
#include "ctl/maps/map_file.h"

namespace holdfast {
namespace {

constexpr absl::string_view kUsage =
    "usage: makemap [-U] [-d dbtype] [-o dbfile] [-t type] file\n";

void SetDbType(const std::string& word, MakemapOptions* options) {
  options->btree = word == "btree";
  if (word != "hash" && word != "btree")
    options->error =
        absl::StrCat("makemap: unsupported DB type '", word, "'\n");
}

void SetType(const std::string& word, MakemapOptions* options) {
  if (word == "aliases") {
    options->type = MapType::kAliases;
  } else if (word == "set") {
    options->type = MapType::kSet;
  } else {
    options->error = absl::StrCat("makemap: unsupported type '", word, "'\n");
  }
}

void Apply(char letter, const std::string& value, MakemapOptions* options) {
  switch (letter) {
    case 'U':
      options->dump = true;
      return;
    case 'd':
      return SetDbType(value, options);
    case 'o':
      options->output = value;
      return;
    case 't':
      return SetType(value, options);
    default:
      return;  // -b, -C, -O: of sendmail's makemap and newaliases
  }
}

void SetOperands(const std::vector<std::string>& operands,
                 MakemapOptions* options) {
  if (operands.size() == 2) {
    // sendmail's way: makemap TYPE NAME < SOURCE
    SetDbType(operands[0], options);
    options->type = MapType::kPlain;
    options->output = absl::StrCat(operands[1], ".db");
    options->source = std::string(1, '-');
  } else if (operands.size() == 1) {
    options->source = operands[0];
  } else {
    options->error = std::string(kUsage);
  }
  if (!options->output.empty() || options->error) return;
  if (options->source == "-" && !options->dump)
    options->error =
        absl::StrCat("makemap: -o is needed for standard input\n", kUsage);
  else
    options->output = options->source + ".db";
}

absl::StatusOr<std::string> ReadAll(int fd) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(strerror(errno));
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxTableFileBytes)
      return absl::ResourceExhaustedError(strerror(EFBIG));
  }
}

// The text; mode and owner go into `file`.
absl::StatusOr<std::string> ReadSource(const std::string& name, int fd,
                                       MapFileOptions* file) {
  struct stat st;
  const bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  if (regular && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return absl::UnavailableError(absl::StrCat(name, " is locked"));
  if (regular && name != "-") {
    file->mode = st.st_mode & 0777;
    file->owner = st.st_uid;
    file->group = st.st_gid;
  }
  absl::StatusOr<std::string> text = ReadAll(fd);
  if (text.ok()) return text;
  return absl::UnavailableError(
      absl::StrCat(name, ": ", text.status().message()));
}

int Dump(const MakemapOptions& options) {
  const absl::Status status = ReadMapFile(
      options.source, [](absl::string_view key, absl::string_view value) {
        return WriteAll(STDOUT_FILENO, absl::StrCat(key, "\t", value, "\n"));
      });
  if (status.ok()) return 0;
  WriteAll(STDERR_FILENO, absl::StrCat("makemap: ", status.message(), "\n"));
  return 1;
}

}  // namespace

MakemapOptions ParseMakemapOptions(const std::vector<std::string>& arguments) {
  MakemapOptions options;
  const ShortOptionsResult parsed = ParseShortOptions(
      arguments, {"b:C:d:O:o:t:U", [&](char letter, const std::string& value) {
                    Apply(letter, value, &options);
                    return !options.error;
                  }});
  if (!parsed.error.empty())
    options.error = absl::StrCat("makemap: ", parsed.error, "\n", kUsage);
  if (!options.error) SetOperands(parsed.operands, &options);
  return options;
}

MapResult MakeMap(const MakemapOptions& options) {
  MapResult result;
  const bool standard = options.source == "-";
  const int fd = standard ? STDIN_FILENO
                          : open(options.source.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    result.error = absl::StrCat(options.source, ": ", strerror(errno));
    return result;
  }
  MapFileOptions file;
  file.btree = options.btree;
  // The lock lasts until the map is there.
  absl::StatusOr<std::string> text = ReadSource(options.source, fd, &file);
  absl::Status status = text.status();
  if (status.ok()) {
    absl::StatusOr<MapEntries> entries = ParseMapSource(
        standard ? "<stdin>" : options.source, *text, options.type);
    status = entries.status();
    if (status.ok()) {
      result.entries = entries->size();
      status = WriteMapFile(options.output, *entries, file);
    }
  }
  if (!standard) close(fd);
  if (!status.ok()) result.error = std::string(status.message());
  return result;
}

int RunMakemap(const std::vector<std::string>& arguments) {
  const MakemapOptions options = ParseMakemapOptions(arguments);
  if (options.error) {
    WriteAll(STDERR_FILENO, *options.error);
    return 1;
  }
  if (options.dump) return Dump(options);
  const MapResult result = MakeMap(options);
  if (!result.error.empty()) {
    WriteAll(STDERR_FILENO, absl::StrCat("makemap: ", result.error, "\n"));
    return 1;
  }
  if (result.entries == 0)
    WriteAll(STDERR_FILENO,
             absl::StrCat("makemap: warning: empty map created: ",
                          options.output, "\n"));
  return 0;
}

}  // namespace holdfast
