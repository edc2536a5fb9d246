#include "common/snapshot.hpp"

namespace reachd {

std::string exposition_label_value(std::string_view value) {
    std::string escaped;
    escaped.reserve(value.size());
    for (const char character : value) {
        switch (character) {
            case '\\': escaped += "\\\\"; break;
            case '"': escaped += "\\\""; break;
            case '\n': escaped += "\\n"; break;
            default: escaped += character;
        }
    }
    return escaped;
}

std::string exposition_peer_labels(std::string_view name, std::string_view address) {
    std::string text = "peer=\"";
    text += exposition_label_value(name);
    text += "\",address=\"";
    text += exposition_label_value(address);
    text += '"';
    return text;
}

}  // namespace reachd
