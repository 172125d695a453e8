// A report sender's surroundings, for its tests.
#ifndef HOLDFAST_SERVER_QUEUE_REPORT_TEST_BED_H_
#define HOLDFAST_SERVER_QUEUE_REPORT_TEST_BED_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/fake_queue.h"
#include "server/queue/report_sender.h"

namespace holdfast {

inline constexpr MessageId kOriginal{0x00000a01};

class ReportTestBed : public ::testing::Test {
 protected:
  ReportTestBed() {
    store().AddMessage(kOriginal,
                       "Received: from x\nSubject: hi\n\n.dot\nbody text\n");
  }

  FakeQueueStore& store() { return *services_.store(); }

  PendingReport Report(uint32_t low, MessageId message = kOriginal) {
    PendingReport report;
    report.key.envelope = MakeEnvelopeId(message, low);
    Envelope& e = report.envelope;
    e.id = report.key.envelope;
    e.smtpname = "in.example.org";
    e.sender = {"alice", "example.com"};
    e.dest = {absl::StrCat("bob", low), "example.net"};
    e.rcpt = e.dest;
    e.created = services_.loop()->Now() - absl::Hours(5);
    e.expires = e.created + absl::Hours(96);
    e.status = {5, 11};
    e.error_line = "550 No such user";
    report.added = services_.loop()->Now();
    return report;
  }

  void Advance(absl::Duration d) {
    services_.loop()->Advance(d);
    services_.loop()->RunReady();
  }

  std::string OnlyReport() {
    if (store().accepted.size() != 1)
      return absl::StrCat(store().accepted.size(), " reports");
    return store().TextOf(store().accepted[0].message);
  }

  FakeQueueServices services_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_REPORT_TEST_BED_H_
