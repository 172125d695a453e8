// How values become bytes: in the frames of doors, on the control socket and
// in the rows of the queue.  A struct lists its fields once,
//
//   struct Ask {
//     static constexpr uint16_t kType = 7;
//     uint64_t question = 0;
//     std::string name;
//     template <class Archive>
//     void Fields(Archive& a) { a(question, name); }
//   };
//
// and Encode() and Decode() both follow that list.  Integers are varints
// (signed ones zigzag), times are microseconds since the epoch, strings and
// lists are preceded by their length.
//
// A field that was added later goes last, behind `a.More()`: an older value
// simply ends before it.  Nothing here trusts a length: Decode() of any bytes
// ends with a value or with kDataLoss, and never allocates more than the bytes
// it was given can hold.
#ifndef HOLDFAST_PROTOCOL_WIRE_H_
#define HOLDFAST_PROTOCOL_WIRE_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

class WireWriter {
 public:
  explicit WireWriter(std::string* out) : out_(*out) {}

  // Always true: a writer knows every field.
  bool More() const { return true; }

  template <class... Values>
  void operator()(Values&... values) {
    (Put(values), ...);
  }

 private:
  void PutVarint(uint64_t v) {
    while (v >= 0x80) {
      out_.push_back(static_cast<char>(v | 0x80));
      v >>= 7;
    }
    out_.push_back(static_cast<char>(v));
  }

  template <class T>
  void Put(T& v) {
    using U = std::remove_const_t<T>;
    if constexpr (std::is_same_v<U, bool>) {
      out_.push_back(v ? 1 : 0);
    } else if constexpr (std::is_enum_v<U>) {
      auto n = static_cast<std::underlying_type_t<U>>(v);
      Put(n);
    } else if constexpr (std::is_same_v<U, double>) {
      out_.append(reinterpret_cast<const char*>(&v), sizeof v);
    } else if constexpr (std::is_signed_v<U>) {
      const int64_t n = v;
      PutVarint(static_cast<uint64_t>(n) << 1 ^ static_cast<uint64_t>(n >> 63));
    } else if constexpr (std::is_unsigned_v<U>) {
      PutVarint(v);
    } else if constexpr (std::is_same_v<U, std::string>) {
      PutVarint(v.size());
      out_.append(v);
    } else if constexpr (std::is_same_v<U, absl::Time>) {
      // InfiniteFuture and InfinitePast saturate and come back as such.
      int64_t micros = absl::ToUnixMicros(v);
      Put(micros);
    } else if constexpr (std::is_same_v<U, absl::Duration>) {
      int64_t micros = absl::ToInt64Microseconds(v);
      Put(micros);
    } else {
      PutCompound(v);
    }
  }

  template <class T>
  void PutCompound(std::vector<T>& list) {
    PutVarint(list.size());
    for (T& v : list) Put(v);
  }
  template <class T>
  void PutCompound(std::optional<T>& v) {
    bool has = v.has_value();
    Put(has);
    if (has) Put(*v);
  }
  template <class T>
  auto PutCompound(T& v) -> decltype(v.Fields(*this)) {
    v.Fields(*this);
  }

  std::string& out_;
};

class WireReader {
 public:
  explicit WireReader(absl::string_view in) : in_(in) {}

  // Whether bytes are left: guards fields that older writers did not have.
  bool More() const { return ok_ && !in_.empty(); }
  bool ok() const { return ok_; }

  template <class... Values>
  void operator()(Values&... values) {
    (Get(values), ...);
  }

 private:
  uint64_t GetVarint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) break;
      const uint8_t byte = static_cast<uint8_t>(in_.front());
      in_.remove_prefix(1);
      v |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return v;
    }
    ok_ = false;
    in_ = {};
    return 0;
  }

  template <class T>
  void Get(T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      v = GetVarint() != 0;
    } else if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> n{};
      Get(n);
      v = static_cast<T>(n);
    } else if constexpr (std::is_same_v<T, double>) {
      if (in_.size() < sizeof v) return Fail();
      std::memcpy(&v, in_.data(), sizeof v);
      in_.remove_prefix(sizeof v);
    } else if constexpr (std::is_signed_v<T>) {
      const uint64_t n = GetVarint();
      const int64_t wide =
          static_cast<int64_t>(n >> 1) ^ -static_cast<int64_t>(n & 1);
      v = static_cast<T>(wide);
      if (static_cast<int64_t>(v) != wide) Fail();
    } else if constexpr (std::is_unsigned_v<T>) {
      const uint64_t n = GetVarint();
      v = static_cast<T>(n);
      if (static_cast<uint64_t>(v) != n) Fail();
    } else if constexpr (std::is_same_v<T, std::string>) {
      const uint64_t size = GetVarint();
      if (size > in_.size()) return Fail();
      v.assign(in_.data(), size);
      in_.remove_prefix(size);
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      int64_t micros = 0;
      Get(micros);
      v = micros == INT64_MAX   ? absl::InfiniteFuture()
          : micros == INT64_MIN ? absl::InfinitePast()
                                : absl::FromUnixMicros(micros);
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      int64_t micros = 0;
      Get(micros);
      v = micros == INT64_MAX   ? absl::InfiniteDuration()
          : micros == INT64_MIN ? -absl::InfiniteDuration()
                                : absl::Microseconds(micros);
    } else {
      GetCompound(v);
    }
  }

  template <class T>
  void GetCompound(std::vector<T>& list) {
    const uint64_t size = GetVarint();
    // Every element takes a byte at least, so this bounds the allocation.
    if (size > in_.size()) return Fail();
    list.clear();
    for (uint64_t i = 0; i < size && ok_; ++i) Get(list.emplace_back());
  }
  template <class T>
  void GetCompound(std::optional<T>& v) {
    bool has = false;
    Get(has);
    if (has && ok_) Get(v.emplace());
  }
  template <class T>
  auto GetCompound(T& v) -> decltype(v.Fields(*this)) {
    v.Fields(*this);
  }

  void Fail() {
    ok_ = false;
    in_ = {};
  }

  absl::string_view in_;
  bool ok_ = true;
};

// Appends the value's bytes to `*out`.
template <class T>
void Encode(const T& value, std::string* out) {
  WireWriter writer(out);
  // Fields() is one function for both directions, hence not const.
  const_cast<T&>(value).Fields(writer);
}
template <class T>
std::string Encode(const T& value) {
  std::string out;
  Encode(value, &out);
  return out;
}

// The value that `bytes` hold.  kDataLoss if they end too early or hold a
// number that does not fit.  Bytes behind the last field belong to a newer
// writer and are ignored.
template <class T>
absl::StatusOr<T> Decode(absl::string_view bytes) {
  T value;
  WireReader reader(bytes);
  value.Fields(reader);
  if (!reader.ok()) return absl::DataLossError("malformed value");
  return value;
}

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_WIRE_H_
