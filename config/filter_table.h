// How builtin filters compare with tables, and who does it: `filters` asks,
// and `lookup` takes only such questions.
#ifndef HOLDFAST_CONFIG_FILTER_TABLE_H_
#define HOLDFAST_CONFIG_FILTER_TABLE_H_

#include <vector>

#include "config/config.h"

namespace holdfast {

// The services by which the filter's table is checked, in their order: it holds
// what one of them finds.  More than one: a table need not offer all of them.
// None: the filter has no table.
std::vector<TableService> ServicesOf(const PhaseFilter& filter);

// `filters` has the keys of this table, which stands in smtpd.conf itself.
// About all others it asks `lookup`, for they may hold passwords, too.
bool IsHeldByFilters(const Table& table);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_FILTER_TABLE_H_
