// receive (and relay) <-> keys: signatures and session ticket keys of TLS.
//
// A private key never leaves `keys`.  Who speaks TLS knows the certificate,
// names its public key, and has each handshake signed here.
#ifndef HOLDFAST_SERVER_DOOR_KEYS_MESSAGES_H_
#define HOLDFAST_SERVER_DOOR_KEYS_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast {

// What `keys` signs at most; TLS signs less than this.
inline constexpr size_t kMaxSignedBytes = 4096;
// Questions one door may have open.
inline constexpr size_t kMaxOpenSignatures = 4096;

// receive -> keys.  Answered by Signature.
struct SignRequest {
  static constexpr uint16_t kType = 1;
  uint64_t question = 0;
  std::string key;         // SHA-256 of the public key (SubjectPublicKeyInfo)
  uint16_t algorithm = 0;  // SSL_SIGN_..., the SignatureScheme of RFC 8446
  std::string input;       // not yet hashed
  template <class A>
  void Fields(A& a) {
    a(question, key, algorithm, input);
  }
};
struct Signature {
  static constexpr uint16_t kType = 2;
  uint64_t question = 0;
  bool ok = false;
  std::string bytes;
  std::string error;
  template <class A>
  void Fields(A& a) {
    a(question, ok, bytes, error);
  }
};

// keys -> receive, when the door is made and whenever they change: encrypt with
// `keys[0]`, decrypt with any.  The last one may be for the future, so that all
// workers know a key before any uses it.
struct TicketKeys {
  static constexpr uint16_t kType = 3;
  struct Key {
    std::string name;    // 16 octets
    std::string secret;  // 48 octets: AES-256 and HMAC-SHA-256 are cut from it
    template <class A>
    void Fields(A& a) {
      a(name, secret);
    }
  };
  std::vector<Key> keys;
  template <class A>
  void Fields(A& a) {
    a(keys);
  }
};

// `smtpd-keys check`, run by parent before the start: a Start on standard
// input, this on standard output.
struct TlsChecked {
  static constexpr uint16_t kType = 4;
  struct Opened {
    std::string path;
    std::string pem;  // no longer encrypted
    template <class A>
    void Fields(A& a) {
      a(path, pem);
    }
  };
  std::vector<std::string> errors;  // empty: all is well
  std::vector<Opened> opened;       // keys that had a passphrase
  template <class A>
  void Fields(A& a) {
    a(errors, opened);
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_KEYS_MESSAGES_H_
