#include "storage/figures_text.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0
                    : static_cast<double>(part) / static_cast<double>(whole);
}

uint64_t FreePages(const StoreFigures& f) {
  return f.end_pages - std::min(f.end_pages, f.used_pages);
}

// Name and number, those of both forms.
std::vector<std::pair<const char*, uint64_t>> Numbers(const StoreFigures& f) {
  return {{"page-bytes", f.page_bytes},
          {"file-bytes", f.file_bytes},
          {"limit-bytes", f.limit_bytes},
          {"pages", f.end_pages},
          {"used-pages", f.used_pages},
          {"free-pages", FreePages(f)},
          {"readers", f.readers},
          {"oldest-reader-behind", f.behind},
          {"sampled-messages", f.sampled},
          {"sampled-bytes", f.raw_bytes},
          {"sampled-stored-bytes", f.stored_bytes}};
}

std::string Json(const StoreFigures& f) {
  std::string text = "{";
  for (const auto& [name, number] : Numbers(f))
    absl::StrAppend(&text, "\"", name, "\":", number, ",");
  absl::StrAppendFormat(
      &text, "\"fragmentation\":%.4f,\"compression\":%.4f,\"tables\":{",
      Share(FreePages(f), f.end_pages), Share(f.stored_bytes, f.raw_bytes));
  const char* comma = "";
  for (const StoreFigures::Table& table : f.tables) {
    absl::StrAppend(&text, comma, "\"", table.name, "\":{\"rows\":", table.rows,
                    ",\"pages\":", table.pages, "}");
    comma = ",";
  }
  return text + "}}\n";
}

}  // namespace

std::string FiguresText(const StoreFigures& f, bool json) {
  if (json) return Json(f);
  std::string text;
  for (const auto& [name, number] : Numbers(f))
    absl::StrAppend(&text, name, " ", number, "\n");
  // What `queue compact` would give back; what bodies were made to take.
  absl::StrAppendFormat(&text, "fragmentation %.1f%%\ncompression %.1f%%\n",
                        100 * Share(FreePages(f), f.end_pages),
                        100 * Share(f.stored_bytes, f.raw_bytes));
  for (const StoreFigures::Table& table : f.tables)
    absl::StrAppend(&text, "table ", table.name, " rows ", table.rows,
                    " pages ", table.pages, "\n");
  return text;
}

}  // namespace holdfast
