"""2D boxes of other people's detectors, from COCO JSON.

pseudolidar import_coco results=FILE.json annotations=FILE.json output=DIR
"""

from pathlib import Path

from pseudolidar.detectors.boxes2d import read_coco_results, write_detections_file
from pseudolidar.files import Record, claimed, file_digest, require_output_file
from pseudolidar.kitti import write_objects


def main(
    *, results: Path, annotations: Path, classes: dict[str, str], output: Path, overwrite: bool, detections: Path | None
) -> None:
    """Write a KITTI result file for every image of the annotations."""
    if detections is not None:
        require_output_file(detections, (".txt",), "2D detections")
    boxes = read_coco_results(results, annotations, classes)
    digests = {"results": file_digest(results), "annotations": file_digest(annotations)}
    record = Record("2D boxes", {"classes": classes}, digests)
    with claimed(output, record, dict.fromkeys(boxes, ""), ["{}.txt"], overwrite):
        for frame_id, found in boxes.items():
            write_objects(output / f"{frame_id}.txt", found.to_objects())
    print(f"2D boxes: {output}")
    if detections is not None:
        write_detections_file(detections, boxes)
        print(f"2D boxes in one file: {detections}")
