// A filter of the configuration as sessions pass it: its links, in order.
#ifndef HOLDFAST_SERVER_FILTERS_CHAIN_H_
#define HOLDFAST_SERVER_FILTERS_CHAIN_H_

#include <string>
#include <vector>

#include "server/door/filter_messages.h"
#include "server/filters/filter.h"

namespace holdfast {

struct FilterChain {
  std::string name;                // in Config::filters
  std::vector<FilterLink*> links;  // one, if it is no chain

  // Whether all links know what they want.
  bool ready() const;
  // What others must ask and report.
  FilterWants Wants() const;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_CHAIN_H_
