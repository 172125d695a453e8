#include "server/parent/table_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "config/parser.h"
#include "server/door/table_messages.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr char kConfig[] =
    "table aliases file:/aliases\n"
    "table users file:/users\n"
    "table hosts file:/hosts\n"
    "table inline { a = b }\n"
    "action \"l\" maildir alias <aliases> userbase <users>\n"
    "action \"r\" relay host <hosts>\n"
    "match for local action \"l\"\n"
    "match for any action \"r\"\n";

// Files that a test writes and the keeper's thread reads.
class Files {
 public:
  void Write(const std::string& path, const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    files_[path] = text;
  }
  absl::StatusOr<SealedFile> Seal(const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = files_.find(path);
    if (it == files_.end()) return absl::NotFoundError("No such file");
    SealedFile sealed;
    sealed.memory = *SealBytes(it->second);
    return sealed;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> files_;
};

class TableKeeperTest : public testing::Test {
 protected:
  TableKeeperTest() : loop_(MakeUvEventLoop()) {
    files_.Write("/aliases", "root joe\n");
    files_.Write("/users", "joe 1000:1000:/home/joe\n");
    files_.Write("/hosts", "# @list\nsmtp://a.test\n");
    ParseOptions options;
    options.path = "/c";
    options.server_name = "mx.example.org";
    const TableSealer seal = [this](const std::string& path) {
      return files_.Seal(path);
    };
    LoadedConfig loaded = LoadConfig(
        options, [](const std::string&) { return kConfig; }, seal);
    EXPECT_NE(loaded.config, nullptr)
        << testing::PrintToString(loaded.messages);
    config_ = loaded.config;
    for (const Room room :
         {Room::kLookup, Room::kQueue, Room::kRelay, Room::kReceive}) {
      auto [ours, theirs] = MakeDoorPair(loop_.get());
      ours_[room] = std::move(ours);
      theirs_[room] = std::move(theirs);
      theirs_[room]->SetCallbacks(
          [this, room](Frame& frame) { OnFrame(room, frame); },
          [](absl::Status) {});
    }
    keeper_ = std::make_unique<TableKeeper>(
        loop_.get(), config_, std::move(loaded.tables),
        [this](Room room, absl::FunctionRef<void(Door*)> tell) {
          tell(ours_.at(room).get());
        },
        seal);
  }

  void OnFrame(Room room, Frame& frame) {
    ASSERT_EQ(frame.fds.size(), 1u);
    ASSERT_TRUE(Dispatch<TableFile>(frame, [&](const TableFile& file) {
      const auto contents =
          ParseSealed(frame.fds[0].get(), *config_->tables.at(file.name));
      ASSERT_TRUE(contents.ok()) << contents.status();
      const auto [key, value] = (*contents)->at(0);
      got_.push_back(std::string(RoomName(room)) + " " + file.name + " " +
                     std::string(key) + "=" + std::string(value) + " " +
                     std::to_string(file.question));
    }));
    if (got_.size() == wanted_) loop_->Stop();
  }

  // The error of an update.
  std::string Update(const std::string& name, uint64_t question) {
    std::string said = "never";
    keeper_->Update(name, question, [&](const std::string& error) {
      said = error;
      loop_->Stop();
    });
    loop_->Run();
    return said;
  }
  // What the rooms have got, once it is so much.
  const std::vector<std::string>& Got(size_t frames) {
    wanted_ = frames;
    if (got_.size() < wanted_) loop_->Run();
    return got_;
  }

  Files files_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<const Config> config_;
  std::map<Room, std::unique_ptr<Door>> ours_, theirs_;
  std::unique_ptr<TableKeeper> keeper_;
  std::vector<std::string> got_;
  size_t wanted_ = 0;
};

TEST_F(TableKeeperTest, RoomsGetWhatTheyMaySee) {
  for (auto& [room, door] : ours_) keeper_->SendAll(room, door.get());
  EXPECT_THAT(Got(5),
              UnorderedElementsAre("lookup aliases root=joe 0",
                                   "lookup hosts smtp://a.test= 0",
                                   "lookup users joe=1000:1000:/home/joe 0",
                                   "queue hosts smtp://a.test= 0",
                                   "relay hosts smtp://a.test= 0"));
}

TEST_F(TableKeeperTest, AnUpdateReachesAllWhoUseIt) {
  files_.Write("/aliases", "root jim\n");
  EXPECT_EQ(Update("aliases", 7), "");
  EXPECT_THAT(Got(1), ElementsAre("lookup aliases root=jim 7"));
  got_.clear();
  files_.Write("/hosts", "# @list\nsmtp://b.test\n");
  EXPECT_EQ(Update("hosts", 8), "");
  EXPECT_THAT(Got(3), UnorderedElementsAre("lookup hosts smtp://b.test= 8",
                                           "queue hosts smtp://b.test= 8",
                                           "relay hosts smtp://b.test= 8"));
}

TEST_F(TableKeeperTest, WhatIsBrokenChangesNothing) {
  files_.Write("/aliases", "root jim\nbroken\n");
  EXPECT_EQ(Update("aliases", 7), "/aliases:2 invalid map entry");
  EXPECT_EQ(Update("none", 8), "no such table: none");
  EXPECT_EQ(Update("inline", 9),
            "table \"inline\" is not in a file of its own");
  // Nor for a room that starts now; and these are all that was sent.
  keeper_->SendAll(Room::kLookup, ours_[Room::kLookup].get());
  EXPECT_THAT(Got(3), ElementsAre("lookup aliases root=joe 0",
                                  "lookup hosts smtp://a.test= 0",
                                  "lookup users joe=1000:1000:/home/joe 0"));
}

TEST_F(TableKeeperTest, ParentItselfAsksTheNewUserbase) {
  files_.Write("/users", "jim 1001:1001:/home/jim\n");
  EXPECT_EQ(Update("users", 1), "");
  const Table& users = *config_->tables.at("users");
  EXPECT_EQ(users.Lookup(TableService::kUserinfo, "joe").value(), std::nullopt);
  EXPECT_EQ(users.Lookup(TableService::kUserinfo, "jim").value(),
            "1001:1001:/home/jim");
}

}  // namespace
}  // namespace holdfast
