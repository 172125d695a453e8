#include "server/parent/config_loader.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

class ConfigLoaderTest : public testing::Test {
 protected:
  LoadedConfig Load() {
    ParseOptions options;
    options.path = "/c";
    options.server_name = "mx.example.org";
    return LoadConfig(options, Reader(), Sealer());
  }
  FileReader Reader() {
    return [this](const std::string& path) -> absl::StatusOr<std::string> {
      ++reads_[path];
      auto it = files_.find(path);
      if (it == files_.end())
        return absl::NotFoundError("No such file or directory");
      return it->second;
    };
  }
  TableSealer Sealer() {
    return [this](const std::string& path) -> absl::StatusOr<SealedFile> {
      ++reads_[path];
      auto it = files_.find(path);
      if (it == files_.end())
        return absl::NotFoundError("No such file or directory");
      SealedFile sealed;
      sealed.memory = *SealBytes(it->second);
      return sealed;
    };
  }

  std::map<std::string, std::string> files_ = {
      {"/c",
       "include \"/rules\"\n"
       "table aliases file:/aliases\n"
       "table hosts file:/hosts\n"
       "table people file:/people\n"
       "table users file:/users\n"
       "table sources file:/sources\n"
       "table secrets file:/secrets\n"
       "table inline { a, b }\n"
       "action \"l\" maildir alias <aliases> userbase <users>\n"
       "action \"r\" relay host <hosts> src <sources> auth <secrets>\n"
       "match from local for local rcpt-to <people> action \"l\"\n"
       "match from local for any action \"r\"\n"},
      {"/rules", "listen on 127.0.0.1 port 2525\n"},
      {"/aliases", "bob: ann, secret@example.org\n"},
      {"/hosts", "# @list\nsmtp+tls://label@relay.example.org\n"},
      {"/people", "bob@example.org\n"},
      {"/users", "bob 1000:1000:/home/bob\n"},
      {"/sources", "127.0.0.1\n"},
      {"/secrets", "label user:password\n"},
  };
  std::map<std::string, int> reads_;
};

TEST_F(ConfigLoaderTest, EveryFileIsReadOnce) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr) << testing::PrintToString(loaded.messages);
  EXPECT_EQ(loaded.config->listeners.size(), 1u);
  for (const auto& [path, count] : reads_) EXPECT_EQ(count, 1) << path;
  EXPECT_EQ(reads_.count("/rules"), 1u);
}

TEST_F(ConfigLoaderTest, TablesTravelApartFromTheConfiguration) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr) << testing::PrintToString(loaded.messages);
  ASSERT_EQ(loaded.files.size(), 2u);
  for (const Start::File& file : loaded.files)
    EXPECT_EQ(file.contents, files_[file.path]);
  ASSERT_EQ(loaded.tables.size(), 6u);
  const auto contents = ParseSealed(loaded.tables.at("aliases").memory.get(),
                                    *loaded.config->tables.at("aliases"));
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ((*contents)->at(0).first, "bob");
}

TEST_F(ConfigLoaderTest, TablesGoOnlyToThoseWhoMaySeeThem) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr) << testing::PrintToString(loaded.messages);
  const Config& config = *loaded.config;
  using testing::ElementsAre;
  EXPECT_THAT(
      TablesFor(Room::kLookup, config),
      ElementsAre("aliases", "hosts", "people", "secrets", "sources", "users"));
  EXPECT_THAT(TablesFor(Room::kQueue, config),
              ElementsAre("hosts", "secrets", "sources"));
  EXPECT_THAT(TablesFor(Room::kRelay, config), ElementsAre("hosts", "sources"));
  for (Room room : {Room::kReceive, Room::kDeliver, Room::kKeys})
    EXPECT_THAT(TablesFor(room, config), ElementsAre());
  EXPECT_THAT(Userbases(config), ElementsAre("users"));
}

TEST_F(ConfigLoaderTest, ParentKeepsOnlyUserbases) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr);
  EXPECT_EQ(loaded.config->tables.at("aliases")->entries().size(), 1u);
  KeepOnlyUserbases(*loaded.config);
  EXPECT_EQ(loaded.config->tables.at("aliases")->entries().size(), 0u);
  EXPECT_EQ(loaded.config->tables.at("users")->entries().size(), 1u);
  EXPECT_EQ(loaded.config->tables.at("inline")->entries().size(), 2u);
}

// A room parses what it gets, without the tables it may not see.
TEST_F(ConfigLoaderTest, EveryRoomCanParseWhatItGets) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr);
  for (Room room : {Room::kLookup, Room::kQueue, Room::kReceive, Room::kRelay,
                    Room::kDeliver, Room::kKeys, Room::kFilters}) {
    std::map<std::string, std::string> files;
    for (const Start::File& file : FilesFor(room, "/c", loaded))
      files[file.path] = file.contents;
    ParseOptions options;
    options.path = "/c";
    options.server_name = "mx.example.org";
    const ParseResult again = ParseConfig(
        options,
        [&files](const std::string& path) -> absl::StatusOr<std::string> {
          return files.at(path);
        },
        [](const Table&) { return nullptr; });
    ASSERT_NE(again.config, nullptr) << testing::PrintToString(again.messages);
    EXPECT_EQ(again.config->rules.size(), 2u);
    EXPECT_EQ(again.config->actions.size(), 2u);
  }
}

// Promise P7: also of what stands in smtpd.conf itself.
TEST_F(ConfigLoaderTest, OnlyLookupAndQueueSeeInlineSecrets) {
  files_["/rules"] +=
      "table passwords { \"alice\" = \"topsecret\" }\n"
      "srs key \"topsecret\"\n";
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr);
  for (Room room : {Room::kLookup, Room::kQueue, Room::kReceive, Room::kRelay,
                    Room::kDeliver, Room::kKeys, Room::kFilters}) {
    bool found = false;
    for (const Start::File& file : FilesFor(room, "/c", loaded))
      found = found || file.contents.find("topsecret") != std::string::npos;
    EXPECT_EQ(found, room == Room::kLookup || room == Room::kQueue)
        << RoomName(room);
  }
}

// Of tables in smtpd.conf the keys; of others nothing: they ask lookup.
TEST_F(ConfigLoaderTest, FiltersSeeWhatTheyCompareWith) {
  files_["/rules"] +=
      "table bad file:/people\n"
      "table passwords file:/secrets\n"
      "table inline-passwords { \"alice\" = \"topsecret\" }\n"
      "table inner { \"secret@example.org\" }\n"
      "filter a phase mail-from match mail-from <bad> reject \"550 no\"\n"
      "filter b phase mail-from match mail-from <inner> reject \"550 no\"\n"
      "filter c phase connect match src { \"192.0.2.66\" } junk\n"
      "filter d phase data match auth <passwords> junk\n"
      "filter e phase data match auth <inline-passwords> junk\n"
      "filter f phase data match auth { \"ann\" = \"topsecret\" } junk\n";
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr);
  EXPECT_THAT(TablesFor(Room::kFilters, *loaded.config),
              testing::ElementsAre());
  for (Room room : {Room::kReceive, Room::kFilters}) {
    const std::string text = FilesFor(room, "/c", loaded).at(0).contents;
    const bool seen = room == Room::kFilters;
    EXPECT_EQ(text.find("secret@example.org") != std::string::npos, seen);
    EXPECT_EQ(text.find("192.0.2.66") != std::string::npos, seen);
    EXPECT_EQ(text.find("alice") != std::string::npos, seen);
    EXPECT_EQ(text.find("\"ann\" = \"hidden\"") != std::string::npos, seen);
    EXPECT_EQ(text.find("topsecret"), std::string::npos);
  }
}

TEST_F(ConfigLoaderTest, WhatIsMissingIsMissingForAll) {
  files_["/c"] += "include \"/nowhere\"\n";
  const LoadedConfig loaded = Load();
  EXPECT_EQ(loaded.config, nullptr);
  ASSERT_FALSE(loaded.messages.empty());
  bool found = false;
  for (const Start::File& file : loaded.files) {
    if (file.path != "/nowhere") continue;
    found = true;
    EXPECT_TRUE(file.missing);
    EXPECT_EQ(file.error, "No such file or directory");
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace holdfast
