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
    return LoadConfig(options, Reader());
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
  // The contents that a room gets of a file.
  static std::string Of(const std::vector<Start::File>& files,
                        const std::string& path) {
    for (const Start::File& file : files) {
      if (file.path == path) return file.contents;
    }
    return "(none)";
  }

  std::map<std::string, std::string> files_ = {
      {"/c",
       "include \"/rules\"\n"
       "table aliases file:/aliases\n"
       "table hosts file:/hosts\n"
       "table people file:/people\n"
       "action \"l\" maildir alias <aliases>\n"
       "action \"r\" relay host <hosts>\n"
       "match from local for local rcpt-to <people> action \"l\"\n"
       "match from local for any action \"r\"\n"},
      {"/rules", "listen on 127.0.0.1 port 2525\n"},
      {"/aliases", "bob: ann, secret@example.org\n"},
      {"/hosts", "relay.example.org\n"},
      {"/people", "bob@example.org\n"},
  };
  std::map<std::string, int> reads_;
};

TEST_F(ConfigLoaderTest, EveryFileIsReadOnce) {
  files_["/c"] += "table more file:/hosts\n";
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr) << testing::PrintToString(loaded.messages);
  EXPECT_EQ(loaded.config->listeners.size(), 1u);
  for (const auto& [path, count] : reads_) EXPECT_EQ(count, 1) << path;
  EXPECT_EQ(reads_.count("/rules"), 1u);
}

TEST_F(ConfigLoaderTest, TablesGoOnlyToThoseWhoMaySeeThem) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr) << testing::PrintToString(loaded.messages);
  for (Room room : {Room::kLookup, Room::kQueue}) {
    const auto files = FilesFor(room, "/c", loaded);
    EXPECT_EQ(Of(files, "/aliases"), files_["/aliases"]);
    EXPECT_EQ(Of(files, "/people"), files_["/people"]);
  }
  for (Room room : {Room::kReceive, Room::kRelay, Room::kDeliver}) {
    const auto files = FilesFor(room, "/c", loaded);
    EXPECT_EQ(Of(files, "/c"), files_["/c"]);
    EXPECT_EQ(Of(files, "/rules"), files_["/rules"]);
    EXPECT_EQ(Of(files, "/aliases"), "");
    EXPECT_EQ(Of(files, "/people"), "");
    EXPECT_EQ(Of(files, "/hosts"),
              room == Room::kRelay ? files_["/hosts"] : "");
  }
}

TEST_F(ConfigLoaderTest, EveryRoomCanParseWhatItGets) {
  const LoadedConfig loaded = Load();
  ASSERT_NE(loaded.config, nullptr);
  for (Room room :
       {Room::kLookup, Room::kReceive, Room::kRelay, Room::kDeliver}) {
    files_.clear();
    for (const Start::File& file : FilesFor(room, "/c", loaded))
      if (!file.missing) files_[file.path] = file.contents;
    const LoadedConfig again = Load();
    ASSERT_NE(again.config, nullptr)
        << RoomName(room) << testing::PrintToString(again.messages);
    EXPECT_EQ(again.config->rules.size(), 2u);
    EXPECT_EQ(again.config->actions.size(), 2u);
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
