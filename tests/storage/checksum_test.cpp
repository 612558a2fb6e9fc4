#include "storage/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::storage {
namespace {

// The buffer of xxHash's own sanity check: the top bytes of a 64-bit multiplicative sequence.
std::vector<std::byte> sanity_buffer(std::size_t length) {
  std::vector<std::byte> buffer(length);
  std::uint64_t state = 2654435761U;
  for (std::byte& value : buffer) {
    value = static_cast<std::byte>(state >> 56);
    state *= 11400714785074694797ULL;
  }
  return buffer;
}

struct Published {
  std::size_t length;
  std::uint64_t value;
};

// XXH3_64bits, seed 0, as published with the algorithm (xxHash, cli/xsum_sanity_check.c).
constexpr Published kPublished[] = {{0, 0x2D06800538D394C2ULL},   {1, 0xC44BDFF4074EECDBULL},
                                    {6, 0x27B56A84CD2D7325ULL},   {12, 0xA713DAF0DFBB77E7ULL},
                                    {24, 0xA3FE70BF9D3510EBULL},  {48, 0x397DA259ECBA1F11ULL},
                                    {80, 0xBCDEFBBB2C47C90AULL},  {195, 0xCD94217EE362EC3AULL},
                                    {403, 0xCDEB804D65C6DEA4ULL}, {512, 0x617E49599013CB6BULL}};

TEST(Checksum, IsThePublishedXxh3) {
  for (const auto& [length, value] : kPublished) EXPECT_EQ(checksum(sanity_buffer(length)), value) << length;
}

TEST(Checksum, RunningOverAnyCutsGivesTheSame) {
  const std::vector<std::byte> bytes = sanity_buffer(5000);
  for (const std::size_t cut : {1U, 7U, 64U, 256U, 1000U, 4999U}) {
    RunningChecksum running;
    const std::span whole(bytes);
    for (std::size_t begin = 0; begin < bytes.size(); begin += cut) {
      running.update(whole.subspan(begin, std::min(cut, bytes.size() - begin)));
    }
    EXPECT_EQ(running.value(), checksum(bytes)) << cut;
  }
  EXPECT_EQ(RunningChecksum().value(), kPublished[0].value);
}

TEST(Checksum, TextIsSixteenLowerCaseDigits) {
  EXPECT_EQ(checksum_text(0xABCULL), "0000000000000abc");
  EXPECT_EQ(checksum_text(0xC44BDFF4074EECDBULL), "c44bdff4074eecdb");
}

TEST(Checksum, OfAFileIsThatOfItsBytes) {
  const test::TemporaryFolder folder;
  const std::vector<std::byte> bytes = sanity_buffer(3U << 20);  // several pieces
  std::ofstream(folder.path() / "file", std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_EQ(file_checksum(folder.path() / "file"), checksum(bytes));
}

TEST(Checksum, OfAMissingFileIsADataErrorThatNamesIt) {
  const std::string said = test::refusal_message(base::ExitCode::data, [] { file_checksum("/nowhere/at/all"); });
  EXPECT_NE(said.find("/nowhere/at/all"), std::string::npos) << said;
}

}  // namespace
}  // namespace leda::storage
