// `queue stat`: the same from the daemon and from the tools that read the store
// while it is down.
#ifndef HOLDFAST_STORAGE_FIGURES_TEXT_H_
#define HOLDFAST_STORAGE_FIGURES_TEXT_H_

#include <string>

#include "storage/queue_store.h"

namespace holdfast {

// Lines "name value"; with `json`, one object in one line.
std::string FiguresText(const StoreFigures& figures, bool json);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_FIGURES_TEXT_H_
