#include "server/parent/tls_files.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class TlsFilesTest : public testing::Test {
 protected:
  TlsFilesTest() {
    std::string name = testing::TempDir() + "/tls.XXXXXX";
    folder_ = mkdtemp(&name[0]);
    Pki pki;
    pki.name = "host";
    pki.cert = Write("host.crt", 0644);
    pki.key = Write("host.key", 0640);
    config_.pkis["host"] = pki;
  }
  std::string Write(const std::string& name, mode_t mode) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << name;
    chmod(path.c_str(), mode);
    return path;
  }
  std::string Read() {
    files_ = TlsFiles();
    messages_.clear();
    return std::string(
        ReadTlsFiles(config_, geteuid(), &files_, &messages_).message());
  }
  // As smtpd-keys would be.
  std::string Program(const std::string& script) {
    const std::string path = Write("program", 0755);
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    return path;
  }

  std::string folder_;
  Config config_;
  TlsFiles files_;
  std::vector<std::string> messages_;
};

std::vector<std::string> ContentsFor(Room room, const TlsFiles& files) {
  std::vector<std::string> out;
  for (const Start::File& file : TlsFilesFor(room, files))
    out.push_back(file.contents);
  return out;
}

TEST_F(TlsFilesTest, EachRoomGetsItsOwn) {
  Ca ca;
  ca.cert = Write("ca.crt", 0755);
  config_.cas["ca"] = ca;
  Pki client;
  client.cert = Write("client.crt", 0644);
  client.key = Write("client.key", 0640);
  config_.pkis["client"] = client;
  Listener listener;
  listener.pki = {"host"};
  config_.listeners.push_back(listener);
  Action& action = config_.actions["out"];
  action.method = ActionMethod::kRelay;
  action.pki = "client";
  action.ca = "ca";
  EXPECT_EQ(Read(), "");
  EXPECT_THAT(ContentsFor(Room::kReceive, files_), ElementsAre("host.crt"));
  EXPECT_THAT(ContentsFor(Room::kRelay, files_),
              ElementsAre("client.crt", "ca.crt"));
  EXPECT_THAT(ContentsFor(Room::kKeys, files_),
              ElementsAre("client.key", "host.key"));
  for (Room room : {Room::kLookup, Room::kQueue, Room::kDeliver})
    EXPECT_THAT(TlsFilesFor(room, files_), IsEmpty());
}

TEST_F(TlsFilesTest, WhatMakesRelaysWorthALook) {
  config_.pkis.clear();
  Action& action = config_.actions["out"];
  action.method = ActionMethod::kRelay;
  EXPECT_FALSE(NeedsTlsCheck(config_));
  action.ciphers = "secure";
  EXPECT_TRUE(NeedsTlsCheck(config_));
  action.ciphers.clear();
  action.protocols = "tlsv1.3";
  EXPECT_TRUE(NeedsTlsCheck(config_));
  action.protocols.clear();
  config_.smtp_ciphers = "secure";
  EXPECT_TRUE(NeedsTlsCheck(config_));
  config_.smtp_ciphers.clear();
  action.tls = Action::Tls::kRequired;
  EXPECT_TRUE(NeedsTlsCheck(config_));
  action.tls = Action::Tls::kNoVerify;
  EXPECT_FALSE(NeedsTlsCheck(config_));
}

TEST_F(TlsFilesTest, APermissionTooMany) {
  chmod(config_.pkis["host"].key.c_str(), 0644);
  EXPECT_EQ(Read(), "load_pki_keys: failed to load key file");
  EXPECT_THAT(messages_, ElementsAre("warn:  " + config_.pkis["host"].key +
                                     ": insecure permissions: must be at most "
                                     "rwxr----- "));
  chmod(config_.pkis["host"].cert.c_str(), 0664);
  EXPECT_EQ(Read(), "load_pki_tree: failed to load certificate file");
  EXPECT_THAT(messages_, ElementsAre("warn:  " + config_.pkis["host"].cert +
                                     ": insecure permissions: must be at most "
                                     "rwxr-xr-x "));
}

TEST_F(TlsFilesTest, SomebodyElsesFile) {
  // Root gives the key away; a user is asked as another one.
  uid_t owner = geteuid();
  if (owner == 0)
    ASSERT_EQ(chown(config_.pkis["host"].key.c_str(), 4711, 4711), 0);
  else
    ++owner;
  EXPECT_FALSE(ReadTlsFiles(config_, owner, &files_, &messages_).ok());
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_THAT(messages_[0],
              testing::EndsWith(": not owned by uid " + std::to_string(owner)));
}

TEST_F(TlsFilesTest, WhatIsNotThere) {
  config_.pkis["host"].cert = folder_ + "/none";
  EXPECT_EQ(Read(), "load_pki_tree: failed to load certificate file");
  EXPECT_THAT(messages_, ElementsAre("warn:  " + folder_ +
                                     "/none: No such file or directory"));
  config_.pkis["host"].cert = folder_;
  EXPECT_EQ(Read(), "load_pki_tree: failed to load certificate file");
  EXPECT_THAT(messages_,
              ElementsAre("warn:  " + folder_ + ": not a regular file"));
}

TEST_F(TlsFilesTest, NothingNamedIsNothingRead) {
  config_.pkis.clear();
  EXPECT_EQ(Read(), "");
  EXPECT_FALSE(NeedsTlsCheck(config_));
}

TEST_F(TlsFilesTest, ACheckThatDoesNotAnswer) {
  EXPECT_EQ(Read(), "");
  const std::string fails = Program("exit 1");
  EXPECT_EQ(CheckTlsFiles(fails, Start(), &files_, &messages_).message(),
            fails + " exited abnormally");
  const std::string garbage = Program("echo garbage");
  EXPECT_EQ(CheckTlsFiles(garbage, Start(), &files_, &messages_).message(),
            garbage + ": no answer");
  EXPECT_EQ(
      CheckTlsFiles(folder_ + "/none", Start(), &files_, &messages_).message(),
      folder_ + "/none: no answer");
}

}  // namespace
}  // namespace holdfast
