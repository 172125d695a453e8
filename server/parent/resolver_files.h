// What the system says of name servers and of names it knows itself, read again
// when it changes: relays can't open the files.
#ifndef HOLDFAST_SERVER_PARENT_RESOLVER_FILES_H_
#define HOLDFAST_SERVER_PARENT_RESOLVER_FILES_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/tables/background_work.h"

namespace holdfast {

inline constexpr char kResolvConfPath[] = "/etc/resolv.conf";
inline constexpr char kHostsPath[] = "/etc/hosts";
// How often the files are looked at.
inline constexpr absl::Duration kResolverFilesInterval = absl::Seconds(5);

// Used on the loop's thread; the files are read on another.
class ResolverFileKeeper {
 public:
  // The contents of a file, or an error; called on the other thread.
  using Reader =
      std::function<absl::StatusOr<std::string>(const std::string& path)>;
  // They have changed.
  using Changed = std::function<void(const ResolverFiles&)>;

  // `background` outlives it.
  ResolverFileKeeper(EventLoop* loop, BackgroundWork* background, Reader read,
                     Changed changed);

  // As they are now; reads them, for the start of a relay.
  const ResolverFiles& Read();
  // Looks at them from now on, again and again.
  void Begin();
  // Looks at them once.
  void Look();

 private:
  void Adopt(ResolverFiles now);

  EventLoop* const loop_;
  BackgroundWork* const background_;
  const Reader read_;
  const Changed changed_;
  ResolverFiles files_;
  EventLoop::Timer poll_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_RESOLVER_FILES_H_
