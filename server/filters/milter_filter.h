// `filter NAME milter SOCKET`: a milter as one link of a chain.
//
// One connection to it for each SMTP session, made when the session begins.
// Phases of a session become the milter's callbacks: connect, helo (and ehlo),
// mail-from, rcpt-to, data, then the text (milter_stage.h); what it decides
// about the text is said to the client at its end.  At commit stand the changes
// of the envelope, quarantine and discard.
#ifndef HOLDFAST_SERVER_FILTERS_MILTER_FILTER_H_
#define HOLDFAST_SERVER_FILTERS_MILTER_FILTER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "config/config.h"
#include "server/filters/filter.h"
#include "server/loop/event_loop.h"
#include "server/tables/background_work.h"

namespace holdfast {

// What the room gives its milters.
struct MilterServices {
  EventLoop* loop = nullptr;
  ConnectMilter connect;
  // For files of messages that wait for a verdict, which are in `folder`.
  BackgroundWork* background = nullptr;
  std::string folder;
  uint64_t max_message_size = 0;
  std::string server_name;
};

// `services` outlives the link.  `filter` is copied.
std::unique_ptr<FilterLink> MakeMilterFilter(const Filter& filter,
                                             const MilterServices& services);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MILTER_FILTER_H_
