#include "agent/ctl/state_look.hpp"

namespace reachd::ctl {

Health health_of(std::string_view state) {
    if (state == "up") {
        return Health::well;
    }
    if (state == "down") {
        return Health::down;
    }
    return state == "suspect" || state == "degraded" ? Health::doubtful : Health::unknown;
}

std::string_view symbol_of(std::string_view state, const Terminal& terminal) {
    const auto& glyph = glyphs(terminal);
    switch (health_of(state)) {
        case Health::down: return glyph.down;
        case Health::doubtful: return glyph.warning;
        case Health::noted:
        case Health::well: return glyph.up;
        case Health::unknown: return glyph.unknown;
    }
    return glyph.unknown;
}

Ink ink_of(std::string_view state) {
    switch (health_of(state)) {
        case Health::down: return Ink::bad;
        case Health::doubtful: return Ink::warning;
        case Health::noted:
        case Health::well: return Ink::good;
        case Health::unknown: return Ink::plain;
    }
    return Ink::plain;
}

}  // namespace reachd::ctl
