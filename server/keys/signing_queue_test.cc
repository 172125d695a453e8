#include "server/keys/signing_queue.h"

#include <openssl/ssl.h>

#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/tls/test_certificates.h"

namespace holdfast {
namespace {

class SigningQueueTest : public testing::Test {
 protected:
  SigningQueueTest() {
    TestAuthority authority;
    key_ = PrivateKey::Parse(authority.Issue({"x"}).key);
  }
  absl::StatusOr<PrivateKey> key_ = absl::UnknownError("none yet");
};

TEST_F(SigningQueueTest, WithoutThreadsAFewInATurn) {
  FakeEventLoop loop;
  SigningQueue queue(&loop, 0);
  std::vector<int> done;
  for (int i = 0; i < 3 * kSignaturesInATurn; ++i) {
    queue.Add(&*key_, SSL_SIGN_ECDSA_SECP256R1_SHA256, "input",
              [&done, i](absl::StatusOr<std::string> signature) {
                EXPECT_TRUE(signature.ok());
                done.push_back(i);
              });
  }
  EXPECT_TRUE(done.empty()) << "a callback inside Add()";
  loop.RunReady();
  ASSERT_EQ(done.size(), size_t{3 * kSignaturesInATurn});
  for (size_t i = 0; i < done.size(); ++i)
    EXPECT_EQ(done[i], static_cast<int>(i));
}

TEST_F(SigningQueueTest, ACallbackMayEndIt) {
  FakeEventLoop loop;
  auto queue = std::make_unique<SigningQueue>(&loop, 0);
  int done = 0;
  for (int i = 0; i < 2; ++i) {
    queue->Add(&*key_, SSL_SIGN_ECDSA_SECP256R1_SHA256, "input",
               [&](absl::StatusOr<std::string>) {
                 ++done;
                 queue.reset();
               });
  }
  loop.RunReady();
  EXPECT_EQ(done, 1);
}

TEST_F(SigningQueueTest, ThreadsAnswerOnTheLoop) {
  constexpr int kJobs = 200;
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  SigningQueue queue(loop.get(), 3);
  const std::thread::id own = std::this_thread::get_id();
  int done = 0, refused = 0;
  for (int i = 0; i < kJobs; ++i) {
    // Every tenth does not fit the key.
    const uint16_t algorithm = i % 10 == 0 ? SSL_SIGN_RSA_PKCS1_SHA256
                                           : SSL_SIGN_ECDSA_SECP256R1_SHA256;
    queue.Add(&*key_, algorithm, "input",
              [&](absl::StatusOr<std::string> signature) {
                EXPECT_EQ(std::this_thread::get_id(), own);
                if (!signature.ok()) ++refused;
                if (++done == kJobs) loop->Stop();
              });
  }
  loop->Run();
  EXPECT_EQ(done, kJobs);
  EXPECT_EQ(refused, kJobs / 10);
}

TEST_F(SigningQueueTest, TheEndDropsWhatWaits) {
  FakeEventLoop loop;
  int done = 0;
  {
    SigningQueue queue(&loop, 2);
    for (int i = 0; i < 50; ++i) {
      queue.Add(&*key_, SSL_SIGN_ECDSA_SECP256R1_SHA256, "input",
                [&](absl::StatusOr<std::string>) { ++done; });
    }
  }
  loop.RunReady();
  EXPECT_EQ(done, 0);
}

}  // namespace
}  // namespace holdfast
