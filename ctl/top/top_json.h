// A snapshot and its rates as one JSON object (docs/OPERATING.md, "top").
#ifndef HOLDFAST_CTL_TOP_TOP_JSON_H_
#define HOLDFAST_CTL_TOP_TOP_JSON_H_

#include <string>

#include "ctl/top/top_figures.h"
#include "protocol/top_snapshot.h"

namespace holdfast {

// A line.
std::string TopJson(const TopSnapshot& snapshot, const TopFigures& figures);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_JSON_H_
