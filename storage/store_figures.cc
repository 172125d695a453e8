#include <sys/stat.h>

#include "storage/queue_view.h"

namespace holdfast {

StoreFigures LmdbQueueView::Figures() const {
  StoreFigures figures;
  const LmdbSpace space = source_->env->Space();
  figures.page_bytes = space.page_bytes;
  figures.limit_bytes = space.map_pages * space.page_bytes;
  figures.end_pages = space.last_page + 1;
  struct stat file;
  if (fstat(source_->env->fd(), &file) == 0)
    figures.file_bytes = static_cast<uint64_t>(file.st_size);
  const LmdbReaders readers = source_->env->Readers();
  figures.readers = readers.count;
  figures.behind = readers.behind;
  figures.used_pages = txn_.UsedPages();
  for (int i = 0; i < kTableCount; ++i)
    figures.tables.push_back(
        {TableName(Table(i)), txn_.Rows(Table(i)), txn_.Pages(Table(i))});
  for (LmdbCursor row(&txn_, Table::kMessages);
       row.valid() && figures.sampled < kFigureMessages; row.Next()) {
    const auto record = OpenRow<MessageRecord>(row.key(), row.value());
    if (!record.ok()) continue;
    ++figures.sampled;
    figures.raw_bytes += record->body.raw_bytes;
    figures.stored_bytes += record->body.stored_bytes;
  }
  return figures;
}

}  // namespace holdfast
