// Envelopes that look like those of a relay host: material for the dictionary,
// tests and benchmarks.
#ifndef HOLDFAST_STORAGE_SAMPLE_ENVELOPE_H_
#define HOLDFAST_STORAGE_SAMPLE_ENVELOPE_H_

#include <cstdint>

#include "protocol/envelope.h"

namespace holdfast {

// The same for the same seed.  Its id is of a message made from the seed.
Envelope SampleEnvelope(uint32_t seed);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_SAMPLE_ENVELOPE_H_
