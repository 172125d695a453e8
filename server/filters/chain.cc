#include "server/filters/chain.h"

#include <algorithm>

namespace holdfast {

bool FilterChain::ready() const {
  return std::all_of(links.begin(), links.end(),
                     [](const FilterLink* link) { return link->ready(); });
}

FilterWants FilterChain::Wants() const {
  // Those that are made here.
  constexpr uint32_t kOurs =
      MaskOf(FilterEvent::kFilterResponse) | MaskOf(FilterEvent::kFilterReport);
  FilterWants wants;
  wants.filter = name;
  for (const FilterLink* link : links) {
    wants.phases |= link->phases();
    wants.in |= link->events_in();
    wants.out |= link->events_out();
  }
  // There is a response to every command, whether a filter was asked or not.
  if ((wants.in & MaskOf(FilterEvent::kFilterResponse)) != 0)
    wants.phases |= kAskedPhases;
  wants.in &= ~kOurs;
  wants.out &= ~kOurs;
  return wants;
}

}  // namespace holdfast
