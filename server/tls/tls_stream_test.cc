#include "server/tls/tls_stream.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

class TlsStreamTest : public testing::Test {
 protected:
  TlsStreamTest()
      : certificate_(bed_.authority.Issue({"mx.example.org"})),
        options_(bed_.Showing({certificate_})),
        context_(bed_.Context(options_)) {}

  void Open() {
    bed_.Accept(context_.get());
    bed_.Connect();
    bed_.Talk();
    ASSERT_TRUE(bed_.stream != nullptr) << bed_.status;
  }

  TlsTestBed bed_;
  TestCertificate certificate_;
  TlsServerOptions options_;
  std::unique_ptr<TlsServerContext> context_;
};

TEST_F(TlsStreamTest, BothVersionsAndWhatIsKnownOfThem) {
  TestClient::Options client;
  client.server_name = "MX.example.org";
  EXPECT_TRUE(bed_.Exchange(context_.get(), client)) << bed_.status;
  EXPECT_EQ(bed_.info.version, "TLSv1.3");
  EXPECT_EQ(bed_.info.cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(bed_.info.bits, 128);
  EXPECT_EQ(bed_.info.server_name, "mx.example.org");
  EXPECT_FALSE(bed_.info.peer_certificate);
  EXPECT_FALSE(bed_.info.resumed);
  EXPECT_EQ(bed_.stream->LocalAddress(), "192.0.2.25");
  client.max_version = TLS1_2_VERSION;
  client.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  EXPECT_TRUE(bed_.Exchange(context_.get(), client)) << bed_.status;
  EXPECT_EQ(bed_.info.version, "TLSv1.2");
  EXPECT_EQ(bed_.info.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
  EXPECT_EQ(bed_.info.bits, 256);
}

TEST_F(TlsStreamTest, AnySplitOfTheBytesWillDo) {
  for (size_t piece : {1, 2, 5, 100, 1000}) {
    bed_.Accept(context_.get());
    bed_.Connect();
    bed_.Talk(piece);
    ASSERT_TRUE(bed_.stream != nullptr) << piece;
    bed_.client->Write("EHLO client.example\r\n");
    bed_.Talk(piece);
    EXPECT_EQ(bed_.got, "EHLO client.example\r\n");
  }
}

TEST_F(TlsStreamTest, WhatComesWithTheEndOfTheHandshakeIsNotLost) {
  bed_.Accept(context_.get());
  bed_.Connect();
  bed_.client->Step();
  bed_.wire->Deliver();
  bed_.loop.RunReady();
  bed_.client->Step();  // the client is connected and speaks at once
  ASSERT_TRUE(bed_.client->connected());
  bed_.client->Write("EHLO early.example\r\n");
  bed_.wire->Deliver();
  ASSERT_TRUE(bed_.stream != nullptr);
  EXPECT_EQ(bed_.got, "") << "a callback inside ResumeReading()";
  bed_.loop.RunReady();
  EXPECT_EQ(bed_.got, "EHLO early.example\r\n");
}

TEST_F(TlsStreamTest, ALargeTextGoesBothWays) {
  Open();
  std::string text;
  while (text.size() < 300'000) text += "0123456789abcdef";
  bed_.client->Write(text);
  bed_.Talk(1460);
  EXPECT_EQ(bed_.got, text);
  bed_.stream->Write(text);
  EXPECT_EQ(bed_.client->Read(), text);
}

TEST_F(TlsStreamTest, APausedStreamReadsAndTellsNothing) {
  Open();
  bed_.stream->PauseReading();
  EXPECT_FALSE(bed_.wire->reading);
  bed_.client->Write("MAIL FROM:<a@example.org>\r\n");
  bed_.Talk();
  EXPECT_EQ(bed_.got, "");
  EXPECT_FALSE(bed_.wire->to_server.empty());
  bed_.stream->ResumeReading();
  bed_.Talk();
  EXPECT_EQ(bed_.got, "MAIL FROM:<a@example.org>\r\n");
}

TEST_F(TlsStreamTest, APauseInsideACallbackKeepsTheRest) {
  Open();
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) {
    bed_.got.append(bytes.data(), bytes.size());
    bed_.stream->PauseReading();
  };
  bed_.stream->SetCallbacks(std::move(callbacks));
  const std::string text(150'000, 'x');
  bed_.client->Write(text);
  const size_t whole = bed_.wire->to_server.size();
  bed_.wire->Deliver();
  EXPECT_TRUE(bed_.wire->to_server.empty()) << whole;
  EXPECT_LT(bed_.got.size(), text.size());
  for (int i = 0; i < 10 && bed_.got.size() < text.size(); ++i) {
    EXPECT_FALSE(bed_.wire->reading);
    const size_t before = bed_.got.size();
    bed_.stream->ResumeReading();
    EXPECT_EQ(bed_.got.size(), before);
    bed_.loop.RunReady();
    EXPECT_GT(bed_.got.size(), before);
  }
  EXPECT_EQ(bed_.got, text);
}

TEST_F(TlsStreamTest, TheBacklogIsThePlainStreams) {
  Open();
  bed_.wire->backlog = 12345;
  EXPECT_EQ(bed_.stream->backlog(), 12345u);
  int drained = 0;
  Stream::Callbacks callbacks;
  callbacks.on_drained = [&] { ++drained; };
  bed_.stream->SetCallbacks(std::move(callbacks));
  bed_.wire->callbacks.on_drained();
  EXPECT_EQ(drained, 1);
}

TEST_F(TlsStreamTest, ShutdownSaysCloseNotify) {
  Open();
  bed_.stream->Write("221 bye\r\n");
  bed_.stream->Shutdown();
  EXPECT_TRUE(bed_.wire->shut_down);
  EXPECT_EQ(bed_.client->Read(), "221 bye\r\n");
  EXPECT_TRUE(bed_.client->heard_close());
  bed_.stream->Write("more");
  EXPECT_EQ(bed_.wire->from_server, "");
}

TEST_F(TlsStreamTest, TheEndIsToldOnce) {
  Open();
  bed_.client->Write("QUIT\r\n");
  bed_.client->Close();
  bed_.Talk();
  EXPECT_EQ(bed_.got, "QUIT\r\n");
  EXPECT_THAT(bed_.closed, ElementsAre(absl::OkStatus()));
  bed_.wire->callbacks.on_closed(absl::OkStatus());
  EXPECT_EQ(bed_.closed.size(), 1u);
  // Answers still go out.
  bed_.stream->Write("221 bye\r\n");
  EXPECT_EQ(bed_.client->Read(), "221 bye\r\n");
}

TEST_F(TlsStreamTest, APlainEndIsAnEnd) {
  Open();
  bed_.wire->callbacks.on_closed(absl::OkStatus());
  EXPECT_THAT(bed_.closed, ElementsAre(absl::OkStatus()));
  bed_.wire->callbacks.on_closed(absl::UnavailableError("Broken pipe"));
  EXPECT_THAT(bed_.closed, ElementsAre(absl::OkStatus(),
                                       absl::UnavailableError("Broken pipe")));
}

TEST_F(TlsStreamTest, ADamagedRecordEndsTheStream) {
  Open();
  bed_.client->Write("NOOP\r\n");
  bed_.wire->to_server.back() ^= 1;
  bed_.Talk();
  EXPECT_EQ(bed_.got, "");
  ASSERT_EQ(bed_.closed.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(bed_.closed[0]));
  EXPECT_EQ(bed_.closed[0].message().substr(0, 5), "TLS: ");
  EXPECT_FALSE(bed_.wire->reading);
  bed_.stream->Write("250 ok\r\n");  // nobody is there to read it
}

TEST_F(TlsStreamTest, ClearTextAfterTheHandshakeIsRefused) {
  Open();
  bed_.wire->to_server += "MAIL FROM:<a@example.org>\r\n";
  bed_.Talk();
  EXPECT_EQ(bed_.got, "");
  EXPECT_EQ(bed_.closed.size(), 1u);
}

TEST_F(TlsStreamTest, AnOwnerMayDropTheStreamInACallback) {
  Open();
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view) { bed_.stream.reset(); };
  bed_.stream->SetCallbacks(std::move(callbacks));
  bed_.client->Write("QUIT\r\n");
  bed_.Talk();
  EXPECT_TRUE(bed_.wire->dropped);

  Open();
  callbacks.on_bytes = [](absl::string_view) {};
  callbacks.on_closed = [this](absl::Status) { bed_.stream.reset(); };
  bed_.stream->SetCallbacks(std::move(callbacks));
  bed_.client->Close();
  bed_.Talk();
  EXPECT_TRUE(bed_.wire->dropped);
}

TEST_F(TlsStreamTest, TicketsDoNotWaitForTheFirstAnswer) {
  context_->SetTicketKeys(TlsTestBed::MakeTicketKeys("a"));
  Open();
  EXPECT_EQ(bed_.client->Read(), "");
  EXPECT_NE(bed_.client->session(), nullptr);
  // Without tickets there is nothing to send.
  context_->SetTicketKeys(TicketKeys());
  Open();
  EXPECT_EQ(bed_.wire->from_server, "");
}

// ---- Handshakes that fail

TEST_F(TlsStreamTest, TheTimeIsLimited) {
  bed_.Accept(context_.get());
  bed_.loop.Advance(absl::Seconds(59));
  EXPECT_EQ(bed_.answers, 0);
  bed_.loop.Advance(absl::Seconds(1));
  EXPECT_EQ(bed_.answers, 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(bed_.status));
  EXPECT_TRUE(bed_.wire->dropped);
}

TEST_F(TlsStreamTest, AClientThatGoesAway) {
  bed_.Accept(context_.get());
  bed_.wire->callbacks.on_closed(absl::OkStatus());
  EXPECT_TRUE(absl::IsUnavailable(bed_.status));
  EXPECT_EQ(bed_.answers, 1);
}

TEST_F(TlsStreamTest, WhatIsNoTls) {
  bed_.Accept(context_.get());
  bed_.wire->to_server = "EHLO client.example\r\n";
  bed_.Talk();
  EXPECT_EQ(bed_.answers, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(bed_.status)) << bed_.status;
  EXPECT_TRUE(bed_.wire->dropped);
}

TEST_F(TlsStreamTest, OldVersionsAreRefused) {
  for (uint16_t version : {TLS1_VERSION, TLS1_1_VERSION}) {
    TestClient::Options client;
    client.min_version = client.max_version = version;
    EXPECT_FALSE(bed_.Exchange(context_.get(), client));
    EXPECT_EQ(bed_.status.message(), "unsupported protocol");
    EXPECT_TRUE(bed_.client->failed());
  }
}

TEST_F(TlsStreamTest, DroppingTheHandshakeGivesUp) {
  bed_.signer.hold = true;
  bed_.Accept(context_.get());
  bed_.Connect();
  bed_.Talk();
  ASSERT_EQ(bed_.signer.seen.size(), 1u);
  EXPECT_FALSE(bed_.wire->reading) << "nothing to read before the signature";
  bed_.handshake.reset();
  EXPECT_TRUE(bed_.wire->dropped);
  bed_.signer.Release();
  bed_.Talk();
  EXPECT_EQ(bed_.answers, 0);
}

TEST_F(TlsStreamTest, ASignatureMayTakeItsTime) {
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    bed_.signer.hold = true;
    bed_.Accept(context_.get());
    TestClient::Options client;
    client.max_version = version;
    bed_.Connect(client);
    bed_.Talk();
    EXPECT_FALSE(bed_.client->connected());
    bed_.signer.Release();
    bed_.Talk();
    EXPECT_TRUE(bed_.client->connected());
    EXPECT_TRUE(bed_.stream != nullptr);
  }
}

TEST_F(TlsStreamTest, WithoutKeysNoHandshake) {
  bed_.signer.unavailable = true;
  bed_.Accept(context_.get());
  bed_.Connect();
  bed_.Talk();
  EXPECT_TRUE(absl::IsUnavailable(bed_.status));
  EXPECT_EQ(bed_.status.message(), "no keys");
  EXPECT_TRUE(bed_.client->failed());
  // The next one finds them again.
  bed_.signer.unavailable = false;
  EXPECT_TRUE(bed_.Exchange(context_.get()));
}

TEST_F(TlsStreamTest, TheRequestNamesTheKeyOfTheCertificate) {
  EXPECT_TRUE(bed_.Exchange(context_.get()));
  ASSERT_EQ(bed_.signer.seen.size(), 1u);
  EXPECT_EQ(bed_.signer.seen[0].key, PrivateKey::Parse(certificate_.key)->id());
  EXPECT_EQ(bed_.signer.seen[0].algorithm, SSL_SIGN_ECDSA_SECP256R1_SHA256);
  EXPECT_LE(bed_.signer.seen[0].input.size(), kMaxSignedBytes);
  EXPECT_EQ(bed_.client->server_key(), bed_.signer.seen[0].key);
}

TEST_F(TlsStreamTest, RenegotiationIsNotThere) {
  TestClient::Options client;
  client.max_version = TLS1_2_VERSION;
  ASSERT_TRUE(bed_.Exchange(context_.get(), client));
  // The library's client cannot ask for it; a record of type handshake, which
  // is how it would begin, ends the session.
  SSL_set_renegotiate_mode(bed_.client->ssl(), ssl_renegotiate_freely);
  EXPECT_EQ(SSL_renegotiate(bed_.client->ssl()), 0);
}

}  // namespace
}  // namespace holdfast
