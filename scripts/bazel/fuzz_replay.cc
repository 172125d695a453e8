// main() of a fuzz target outside libFuzzer: runs the target on the files
// named on the command line (and some built-in seeds) and on mutations of
// them.  The sequence is fixed, so that a failure comes back.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutations = 5000;

void RunOne(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

std::string Mutate(std::string input, std::mt19937& random) {
  const int changes = 1 + static_cast<int>(random() % 8);
  for (int i = 0; i < changes; ++i) {
    const size_t at = input.empty() ? 0 : random() % input.size();
    switch (random() % 4) {
      case 0:
        input.insert(at, 1, static_cast<char>(random()));
        break;
      case 1:
        if (!input.empty()) input.erase(at, 1 + random() % 4);
        break;
      case 2:
        if (!input.empty()) input[at] = static_cast<char>(random());
        break;
      case 3:
        input.insert(at, input.substr(at, random() % 32));
        break;
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> seeds = {"", "a", std::string(300, 'x'),
                                    std::string("\0\xff\r\n.", 5)};
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 1;
    }
    seeds.emplace_back(std::istreambuf_iterator<char>(file),
                       std::istreambuf_iterator<char>());
  }
  std::mt19937 random(20261122);
  for (const std::string& seed : seeds) RunOne(seed);
  for (int i = 0; i < kMutations; ++i)
    RunOne(Mutate(seeds[random() % seeds.size()], random));
  return 0;
}
