#include "server/parent/resolver_files.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(ResolverFileKeeper, TellsOfWhatHasChangedAndOfNothingElse) {
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  BackgroundWork background(loop.get());
  // Changed only while nobody reads.
  std::map<std::string, std::string> files = {
      {kResolvConfPath, "nameserver 192.0.2.1\n"},
      {kHostsPath, "127.0.0.1 localhost\n"}};
  std::vector<ResolverFiles> told;
  ResolverFileKeeper keeper(
      loop.get(), &background,
      [&](const std::string& path) -> absl::StatusOr<std::string> {
        const auto it = files.find(path);
        if (it == files.end()) return absl::NotFoundError("gone");
        return it->second;
      },
      [&](const ResolverFiles& now) { told.push_back(now); });
  const auto look = [&] {
    keeper.Look();
    background.Run(
        [&]() -> BackgroundWork::Finish { return [&] { loop->Stop(); }; });
    loop->Run();
  };
  EXPECT_EQ(keeper.Read().resolv_conf, "nameserver 192.0.2.1\n");
  look();
  EXPECT_TRUE(told.empty());

  // One has changed; the other is being replaced.
  files[kResolvConfPath] = "nameserver 192.0.2.2\n";
  files.erase(kHostsPath);
  look();
  look();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].resolv_conf, "nameserver 192.0.2.2\n");
  EXPECT_EQ(told[0].hosts, "127.0.0.1 localhost\n");
}

}  // namespace
}  // namespace holdfast
