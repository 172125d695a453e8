// makemap and newaliases (reference part 2, sections 6.5 and 6.6).
#ifndef HOLDFAST_CTL_MAPS_MAKEMAP_H_
#define HOLDFAST_CTL_MAPS_MAKEMAP_H_

#include <optional>
#include <string>
#include <vector>

#include "ctl/maps/map_source.h"

namespace holdfast {

struct MakemapOptions {
  bool dump = false;   // -U
  bool btree = false;  // -d
  MapType type = MapType::kPlain;
  std::string source;  // "-": standard input
  std::string output;  // -o; else the source's name and ".db"

  // Set: what is wrong, whole lines for stderr; the exit status is 1.
  std::optional<std::string> error;
};

// Pure.  `arguments` without the program's name.
MakemapOptions ParseMakemapOptions(const std::vector<std::string>& arguments);

struct MapResult {
  std::string error;  // without the program's name; empty: done
  size_t entries = 0;
};

// Reads options.source, writes options.output.
MapResult MakeMap(const MakemapOptions& options);

// The exit statuses.  What is to be said is said on standard output and error.
int RunMakemap(const std::vector<std::string>& arguments);
// `spool`: of --spool; empty: the configuration's.
int RunNewaliases(const std::vector<std::string>& arguments,
                  const std::string& spool);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_MAPS_MAKEMAP_H_
